# SPDX-License-Identifier: Apache-2.0
import pytest


def slow(*case):
    """A case of a parametrized test that `make test` leaves to `make test-slow`."""
    return pytest.param(*case, marks=pytest.mark.slow)
