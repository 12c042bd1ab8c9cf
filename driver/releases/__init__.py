"""Releases: immutable, versioned datasets of what runs left."""
