"""Asking vision-language models: one way in, whoever answers."""
