"""Exercises of notebook 12, semantic fusion: evidence of several pictures, a contradiction, a power, what cannot be."""

from __future__ import annotations

from . import of_notebook

exercise = of_notebook(12)

check_fused = exercise("fused_evidence")
check_contradiction = exercise("contradiction")
check_power = exercise("power_for")
check_impossible = exercise("impossible")
