# SPDX-License-Identifier: Apache-2.0
"""A description of a SavedModel's files that is damaged, or written to do harm."""

import json
import os

import pytest

from homoode_tf.serving import checksums
from homoode_tf.serving.predict import ModelError, ServedModel


@pytest.fixture
def model(tmp_path):
    """What looks like a SavedModel, and the path of its description."""
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"")
    checksums.write(folder)
    checksums.check(folder)
    return folder, folder / "assets.extra" / "checksums.json"


def refused(folder, reason):
    with pytest.raises(ModelError, match=reason) as caught:
        ServedModel(folder)
    assert str(caught.value).startswith(f"{folder}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../outside", "/dev/zero", "", ".", "a//b", "variables/./x"])
def test_names_lead_to_each_file_once_and_to_none_outside(model, name):
    folder, sums = model
    (folder.parent / "outside").write_bytes(b"secret")
    described = checksums.describe(folder.parent / "outside")
    sums.write_text(json.dumps({name: described}))
    refused(folder, "is no name of a file in the folder")


@pytest.mark.parametrize(
    ("content", "reason"),
    [("[" * 100_000, "nested too deeply"), ("[]", "is no JSON object"), ("{", "is no JSON: ")],
)
def test_a_description_that_is_none(model, content, reason):
    folder, sums = model
    sums.write_text(content)
    refused(folder, rf"assets\.extra/checksums\.json .*{reason}")


@pytest.mark.parametrize(
    "name", ["assets.extra/checksums.json", "saved_model.pb", "variables/more"]
)
@pytest.mark.parametrize("described", [True, False])
def test_what_never_ends_is_not_read(model, name, described):
    folder, sums = model
    if not described:
        sums.unlink()
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    refused(folder, f"{name} is not a regular file")
    (folder / name).unlink()
    with (folder / name).open("wb") as file:
        file.truncate(2**40)
    refused(folder, f"{name} is too large: 1,099,511,627,776 bytes, at most")


@pytest.mark.parametrize("said", [None, 3, "x", {}, {"bytes": 5}, {"bytes": 5, "sha256": 0}])
def test_a_file_must_be_what_was_said(model, said):
    folder, sums = model
    sums.write_text(json.dumps({"saved_model.pb": said}))
    refused(folder, r"saved_model\.pb is not what was written")
