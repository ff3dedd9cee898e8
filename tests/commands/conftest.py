"""Fixtures of these tests."""

from tests.data.hub_fixture import hub  # noqa: F401
