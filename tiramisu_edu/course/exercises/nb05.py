"""Exercises of notebook 5, learning by EM: expected counts, the M-step, mutual information, a mini-batch step."""

from __future__ import annotations

from . import of_notebook

exercise = of_notebook(5)

check_counts = exercise("expected_counts")
check_weights = exercise("new_weights")
check_information = exercise("information")
check_step = exercise("step")
