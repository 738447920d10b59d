# SPDX-License-Identifier: Apache-2.0
"""Figures of numbers that a run rarely has. tests/plot/test_command.py draws those of real runs."""

import errno
import os

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the figures need pip install -e '.[plots]'")

from homoode_tf.plot import Confusion, Projection, Series, SolveSummary
from homoode_tf.report import style
from homoode_tf.report.plot import figures
from tests.report.plot.pictures import check_picture


def series(*values):
    return Series(10 * np.arange(1, len(values) + 1), np.array(values, np.float64))


def test_learning_curves_without_validation_or_with_a_loss_of_zero(tmp_path):
    curves = {
        "loss": series(1.0, 0.0),
        "validation_loss": series(),
        "accuracy": series(0.5, 1.0),
        "validation_accuracy": series(),
    }
    figures.learning_curves(tmp_path / "figure.png", curves)
    check_picture(tmp_path / "figure.png")


@pytest.mark.parametrize("there", [True, False])
def test_a_full_disk_leaves_the_figure_that_was_there(tmp_path, monkeypatch, there):
    def fill(_, path, **__):
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(style.Figure, "savefig", fill)
    path = tmp_path / "figure.png"
    if there:
        path.write_text("good")
    with pytest.raises(OSError, match="No space left"), style.figure(path, 2, 2):
        pass
    assert [p.read_text() for p in tmp_path.iterdir()] == ["good"] * there


def test_evaluations_of_a_layer_without_a_backward_solve(tmp_path):
    curves = {"nfe_forward": series(13.0), "nfe_backward": series()}
    figures.evaluations(tmp_path / "figure.png", curves)
    check_picture(tmp_path / "figure.png")


@pytest.mark.parametrize("decay", [0.1, 20.0])
def test_residuals_of_any_range(tmp_path, decay):
    times = np.linspace(0, 1, 9)
    residuals = {str(p): (1 + p) * np.exp(-decay * times) for p in (0, 25, 50, 75, 100)}
    summary = SolveSummary(
        images=1,
        evaluations=7,
        rejected_steps=None,
        step_times=np.array([0.0, 1.0]),
        step_sizes=np.array([1.0]),
        step_residuals=residuals["50"][[0, -1]],
        times=times,
        residuals=residuals,
    )
    figures.solve(tmp_path / "figure.png", summary)
    check_picture(tmp_path / "figure.png")


@pytest.mark.parametrize(("images", "shared"), [(1, True), (30, False)])
def test_trajectories_of_few_and_of_many_classes(tmp_path, images, shared):
    ways = np.random.default_rng(0).normal(size=(images, 4, 2)).cumsum(axis=1)
    projection = Projection(
        labels=np.arange(images),
        shared_start=shared,
        explained_variance=np.array([0.75, 0.25]),
        steps=ways,
        curves=ways,
    )
    figures.trajectories(tmp_path / "figure.png", projection, tuple(map(str, range(images))))
    check_picture(tmp_path / "figure.png")


@pytest.mark.parametrize("classes", [3, 100])
def test_confusion_of_few_and_of_many_classes(tmp_path, classes):
    labels = np.random.default_rng(0).integers(0, classes, 500)
    names = tuple(f"class number {number}" for number in range(classes))
    figures.confusion_matrix(
        tmp_path / "figure.png", Confusion.make(labels, (2 * labels) % classes, names)
    )
    check_picture(tmp_path / "figure.png")
