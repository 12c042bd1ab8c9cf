"""The headless driver: photos in, edits by a real ComfyUI, a dataset out. Imports neither torch nor ComfyUI."""
