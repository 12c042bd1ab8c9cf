"""Several stages in one command: a recipe, and how all of its stages go at the same time."""
