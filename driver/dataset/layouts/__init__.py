"""The forms that a dataset may have."""
