"""Exercises of notebook 10, latent space: gradients of a tokenizer, evidence on codes, a temperature, made-up pairs."""

from __future__ import annotations

from . import of_notebook

exercise = of_notebook(10)

check_gradients = exercise("gradients")
check_evidence = exercise("code_evidence")
check_temperature = exercise("best_temperature")
check_made_up = exercise("made_up")
