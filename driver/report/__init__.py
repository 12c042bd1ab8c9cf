"""A run's report and dataset card."""
