"""Exercises of notebook 7, diffusion: a schedule, reading v, a network's own error, a linear denoiser, a sampler."""

from __future__ import annotations

from . import of_notebook

exercise = of_notebook(7)

check_schedule = exercise("schedule")
check_clean = exercise("clean")
check_own_share = exercise("own_share")
check_linear = exercise("best_linear")
check_sampler = exercise("sampler")
