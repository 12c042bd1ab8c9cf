"""Weights that our graphs name: licences, places and downloads."""
