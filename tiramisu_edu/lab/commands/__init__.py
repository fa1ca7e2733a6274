"""What each command of `tiramisu-edu` does; `cli.py` reads the arguments."""
