"""Pictures as arrays: fills, crops, blends and masks."""
