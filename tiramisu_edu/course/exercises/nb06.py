"""Exercises of notebook 6, soft evidence: several readings, a sensor's ceiling, temperature, safe sums, a posterior."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import normalised
from ..compare import array_of
from . import of_notebook

exercise = of_notebook(6)


def from_largest(log_w: Any) -> np.ndarray:
    """Logarithms without their largest: the view of answers that are right up to a constant."""
    log_w = array_of(log_w).astype(float)
    return log_w - log_w.max()


check_weights = exercise("log_weights", view=from_largest)
check_clipped = exercise("clipped", view=normalised)
check_temper = exercise("temper")
check_sum = exercise("log_sum")
check_marginals = exercise("marginals")
