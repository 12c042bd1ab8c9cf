"""Models in this process: transformers' and core's text encoders."""
