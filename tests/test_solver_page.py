# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/solvers.md run as they stand."""

import pathlib
import re

import pytest

TEXT = (pathlib.Path(__file__).parent.parent / "docs" / "solvers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_example(block):
    exec(block, {})
