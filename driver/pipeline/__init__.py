"""The order of things in a run: plan, servers, stages, outcome."""
