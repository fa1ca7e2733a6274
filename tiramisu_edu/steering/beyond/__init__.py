"""Beyond the paper: the difference guide, the twisted particle filter, the start from the circuit's mean."""
