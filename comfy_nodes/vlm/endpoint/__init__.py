"""Services that speak OpenAI's chat completions: client, limits, cache."""
