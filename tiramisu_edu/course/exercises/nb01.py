"""Exercises of notebook 1, the damaged picture: conditioning, exact draws, the next pixel, prediction, pasting."""

from __future__ import annotations

from ..checks import shares
from . import of_notebook

exercise = of_notebook(1)

check_condition = exercise("condition")
check_draws = exercise("repairs", view=shares)
check_open = exercise("left_open")
check_denoised = exercise("denoised")
check_pasted = exercise("pasted")
