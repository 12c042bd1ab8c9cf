"""Samples across servers: pool, workers, prompts, harvest."""
