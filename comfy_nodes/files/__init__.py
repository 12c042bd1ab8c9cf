"""Files that nodes open and save: photos, pairs, records, and hashes of what was read."""
