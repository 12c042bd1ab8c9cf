"""How weights are found (`folders`), read (`checkpoints`) and handed to ComfyUI's memory manager (`managed`)."""
