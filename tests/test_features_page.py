# SPDX-License-Identifier: Apache-2.0
"""Each "yes" of the table of features names a test that there is."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "features.md").read_text("utf-8")


def test_every_yes_is_shown_by_a_test():
    rows = [line.split("|")[1:] for line in PAGE.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    for name, ours, shown, *_ in rows:
        if ours.strip() not in ("no", "TensorFlow, Keras 3"):
            file, test = re.fullmatch(r" `(.*\.py)::(\w+)` ", shown).groups()
            assert f"def {test}(" in (ROOT / file).read_text("utf-8"), name
