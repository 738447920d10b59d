# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.datasets import load_digits

from homoode_tf import data
from homoode_tf.data import storage
from homoode_tf.data.digits import Digits


def read(folder):
    builder = storage.open_prepared("digits", folder)
    return {split: storage.read_split(builder, split) for split in ("train", "test")}


def sorted_rows(images, labels):
    rows = np.concatenate([images.reshape(len(images), -1), labels[:, np.newaxis]], axis=1)
    return rows[np.lexsort(rows.T)]


def test_the_images_are_scikit_learns_each_once(digits_dir):
    splits = read(digits_dir)
    images = np.concatenate([splits["train"][0], splits["test"][0]])
    labels = np.concatenate([splits["train"][1], splits["test"][1]])
    assert images.shape == (1797, 8, 8, 1)
    assert images.min() == 0 and images.max() == 255
    digits = load_digits()
    np.testing.assert_array_equal(
        sorted_rows(np.rint(images / 255 * 16).astype(np.int64), labels),
        sorted_rows(digits.images.astype(np.int64), digits.target),
    )


def test_the_split_is_stratified(digits_dir):
    splits = read(digits_dir)
    train, test = (np.bincount(splits[split][1], minlength=10) for split in ("train", "test"))
    assert (train.sum(), test.sum()) == (1437, 360)
    np.testing.assert_allclose(test, (train + test) * 360 / 1797, atol=1)


def test_the_split_is_the_same_on_every_machine(digits_dir, tmp_path):
    """The order on disk, and with it the validation part, is fixed too."""
    data.prepare("digits", tmp_path)
    for split, (images, labels) in read(digits_dir).items():
        again = read(tmp_path)[split]
        np.testing.assert_array_equal(images, again[0])
        np.testing.assert_array_equal(labels, again[1])
    # Of this version of the data set: a change of these needs a new one.
    assert read(digits_dir)["test"][1][:12].tolist() == [0, 4, 0, 2, 3, 0, 4, 0, 4, 6, 7, 0]


def test_another_process_that_is_quicker_does_no_harm(tmp_path, monkeypatch):
    """The other one finishes while this one is still writing its images."""
    generate = Digits._generate_examples
    others = []

    def interrupted(self, *arguments):
        if not others:
            others.append(Digits(data_dir=tmp_path))
            others[0].download_and_prepare()
        yield from generate(self, *arguments)

    monkeypatch.setattr(Digits, "_generate_examples", interrupted)
    builder = data.prepare("digits", tmp_path)
    assert others and builder.info.splits["test"].num_examples == 360
    assert [path.name for path in (tmp_path / "digits").iterdir()] == ["1.0.0"]


@pytest.mark.slow
def test_two_processes_prepare_the_same_folder_at_once(tmp_path, monkeypatch):
    """This process waits in the middle of its work until the other one has begun to write."""
    command = [sys.executable, "-m", "homoode_tf.data", "digits", "--data_dir", str(tmp_path)]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    generate = Digits._generate_examples

    def delayed(self, *arguments):
        while len(list((tmp_path / "digits").iterdir())) < 2 and other.poll() is None:
            time.sleep(0.001)
        yield from generate(self, *arguments)

    monkeypatch.setattr(Digits, "_generate_examples", delayed)
    assert data.prepare("digits", tmp_path).info.splits["test"].num_examples == 360
    output, errors = other.communicate(timeout=120)
    assert other.returncode == 0, errors
    assert "train 1437, test 360" in output
    assert [path.name for path in (tmp_path / "digits").iterdir()] == ["1.0.0"]


def test_leftovers_of_a_killed_process_do_no_harm(tmp_path):
    (tmp_path / "digits" / "incomplete.ABCDEF_1.0.0").mkdir(parents=True)
    assert data.load("digits", data_dir=tmp_path).info.num_test == 360


def test_nothing_is_printed_for_the_default_data_set(tmp_path, capfd):
    data.load("digits", data_dir=tmp_path)
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == ""


def test_a_data_dir_that_cannot_be_written_is_named(tmp_path):
    """A file in the folder's place stops even an administrator, whom no permission stops."""
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "data"
    with pytest.raises(OSError, match=f"cannot write the digits.*{folder}.*give a data_dir"):
        data.load("digits", data_dir=folder)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind root"
)
def test_a_read_only_data_dir_is_a_permission_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="give a data_dir that can be written"):
        data.load("digits", data_dir=tmp_path)
