"""Exercises of notebook 10, semantic fusion: a demand, a contradiction, LPIPS of one layer, counting wins, a vote."""

from __future__ import annotations

from . import of_notebook

exercise = of_notebook(10)

check_demand = exercise("demand")
check_contradiction = exercise("contradiction")
check_layer_distance = exercise("layer_distance")
check_tally = exercise("tally")
check_vote_difference = exercise("vote_difference")
