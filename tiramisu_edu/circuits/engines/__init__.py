"""How the levels of a circuit are executed."""
