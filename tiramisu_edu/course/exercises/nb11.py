"""Exercises of notebook 11, scale: distillation by counting, a log-space product, a run time, a kernel."""

from __future__ import annotations

from . import of_notebook

exercise = of_notebook(11)

check_table = exercise("distilled")
check_gemm = exercise("log_matmul")
check_seconds = exercise("seconds")
check_kernel = exercise("tiled")
