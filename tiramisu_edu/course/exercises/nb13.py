"""Exercises of notebook 13, judging: LPIPS of one layer, an energy score, clusters, a study that could fail."""

from __future__ import annotations

from . import of_notebook

exercise = of_notebook(13)

check_layer_distance = exercise("layer_lpips")
check_energy = exercise("energy_score")
check_clusters = exercise("clustered")
check_votes = exercise("votes_needed")
