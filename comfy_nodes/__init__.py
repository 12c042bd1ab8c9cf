"""The node pack: what ComfyUI loads. Importing this package imports nothing of ComfyUI."""
