"""What all tests of concepts share."""

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """In a model of this size more threads only wait for each other, long on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
