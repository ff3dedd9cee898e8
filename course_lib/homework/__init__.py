"""Homework: exercises from one hand-edited copy, checks that help, grading that trusts nobody."""
