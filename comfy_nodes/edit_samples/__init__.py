"""What nodes do to a sample: words written into it, pictures fitted to a model's size."""
