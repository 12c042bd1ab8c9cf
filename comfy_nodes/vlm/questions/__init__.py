"""What is asked: writers, observers, verifiers and judges, with their prompts."""
