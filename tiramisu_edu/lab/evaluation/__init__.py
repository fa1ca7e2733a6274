"""Judging completions: masks, metrics and whether a difference is more than chance."""
