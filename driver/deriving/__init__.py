"""More rows from finished ones, without another edit."""
