"""Exercises of notebook 8, steering: soft evidence, the geometric mean, Tweedie, consistent noise, a verdict."""

from __future__ import annotations

from ..checks import normalised
from . import of_notebook

exercise = of_notebook(8)

check_weights = exercise("soft_evidence", view=normalised)
check_mixture = exercise("mixture")
check_score = exercise("score")
check_epsilon = exercise("consistent_epsilon")
check_verdict = exercise("verdict")
