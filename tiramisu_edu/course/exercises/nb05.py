"""Exercises of notebook 5, learning by EM: counts, a step for any circuit, a bug, a promise, information, batches."""

from __future__ import annotations

from . import of_notebook
from .nb04 import by_name

exercise = of_notebook(5)

check_counts = exercise("expected_counts")
check_em_step = exercise("em_step", view=by_name)
check_bug = exercise("mixture_step")
check_promised = exercise("promised")
check_information = exercise("information")
check_batches = exercise("in_batches")
