"""Nodes, one file per role: schemas and thin `execute` methods; the work is done outside."""
