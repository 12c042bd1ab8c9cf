"""ComfyUI's door to the pack when the repository lies in custom_nodes."""

WEB_DIRECTORY = "comfy_nodes/web"


async def comfy_entrypoint():  # ComfyUI annotates nothing here; the type lives in an import made late
    from .comfy_nodes.extension import EditPairsExtension

    return EditPairsExtension()
