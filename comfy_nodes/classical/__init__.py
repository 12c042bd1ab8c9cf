"""Edits without weights: colour, pasting, scenery and styles by OpenCV and numpy."""
