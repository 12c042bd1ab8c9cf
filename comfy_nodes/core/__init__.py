"""What both sides of EditPairs share: the nodes in ComfyUI and the driver beside it.

Plain Python, numpy and Pillow. Nothing here may import torch, ComfyUI or the driver.
"""
