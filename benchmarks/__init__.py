"""How fast the circuits are, beside the matrix products they need and beside other libraries."""
