"""Exercises of notebook 9, beyond the paper: Tweedie, the difference guide, how far a step moves, who is honest."""

from __future__ import annotations

from . import of_notebook

exercise = of_notebook(9)

check_score = exercise("score")
check_difference = exercise("steered_prediction")
check_factors = exercise("factors")
check_honest = exercise("honest")
