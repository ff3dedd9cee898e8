"""Loads the strict notebook checks, for tests/ and for notebooks/ alike."""

pytest_plugins = ["tests.nbval_strict"]
