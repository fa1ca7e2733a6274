"""Exercises of notebook 9, latent space and scale: beliefs about codes, independent draws, counting, log-space GEMM."""

from __future__ import annotations

from . import of_notebook

exercise = of_notebook(9)

check_beliefs = exercise("beliefs")
check_made_up = exercise("made_up")
check_table = exercise("distilled")
check_gemm = exercise("log_matmul")
check_intensity = exercise("intensity")
