"""What tests of widgets share."""

from tests.training.conftest import small_data  # noqa: F401  a fixture: data for quick scores
