"""Any input, read into samples."""
