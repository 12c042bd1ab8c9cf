"""Datasets made ready to train on."""
