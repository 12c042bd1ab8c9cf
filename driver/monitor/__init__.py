"""Who is told how a run goes: terminal, metrics, log."""
