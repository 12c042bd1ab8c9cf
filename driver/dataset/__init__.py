"""Rows on disk: spool, shards, layouts, publishing."""
