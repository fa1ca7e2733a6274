"""Exercises of notebook 6, soft evidence: weights from a sensor, a posterior from a list, temperature, safe sums."""

from __future__ import annotations

from ..checks import normalised
from . import of_notebook

exercise = of_notebook(6)

check_weights = exercise("weights", view=normalised)
check_posterior = exercise("posterior")
check_temper = exercise("temper")
check_log_sum = exercise("log_sum")
