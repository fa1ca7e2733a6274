"""Exercises of notebook 7, diffusion: adding noise, reading a prediction of v, the network's own error, a DDIM step."""

from __future__ import annotations

from . import of_notebook

exercise = of_notebook(7)

check_noisy = exercise("noisy")
check_clean = exercise("clean")
check_own_share = exercise("own_share")
check_ddim = exercise("ddim_step")
