"""Beyond the paper: the difference guide and the twisted particle filter."""
