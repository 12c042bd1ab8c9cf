"""HTTP routes of the pack, beside ComfyUI's own."""
