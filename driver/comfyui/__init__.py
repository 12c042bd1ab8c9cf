"""One ComfyUI server: started or found, asked, watched and ended."""
