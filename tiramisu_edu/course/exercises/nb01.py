"""Exercises of notebook 1, the damaged picture: conditioning, entropy, the denoiser's prediction, pasting, distance."""

from __future__ import annotations

from . import of_notebook

exercise = of_notebook(1)

check_condition = exercise("condition")
check_entropy = exercise("entropy")
check_predict = exercise("predict")
check_paste = exercise("paste")
check_gap = exercise("total_variation")
