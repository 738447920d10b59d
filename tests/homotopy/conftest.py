# SPDX-License-Identifier: Apache-2.0
import pytest


@pytest.fixture(autouse=True)
def no_warning_of_retracing(caplog):
    """Each trace compiles anew; TensorFlow warns of that once or twice, in whichever test."""
    yield
    assert "retracing" not in " ".join(r.getMessage() for r in caplog.get_records("call"))
