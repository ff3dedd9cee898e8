"""Scores on held-out questions, before and after."""
