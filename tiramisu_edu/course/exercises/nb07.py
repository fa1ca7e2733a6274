"""Exercises of notebook 7, diffusion: a schedule, the training loss, reading v, a linear denoiser, a sampler."""

from __future__ import annotations

from . import of_notebook

exercise = of_notebook(7)

check_schedule = exercise("schedule")
check_loss = exercise("denoising_loss")
check_clean = exercise("clean")
check_linear = exercise("best_linear")
check_sampler = exercise("sampler")
