"""Measure where training time goes. Figures, not tests: see README.md."""
