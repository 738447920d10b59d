# SPDX-License-Identifier: Apache-2.0
"""That both sides are the same step, and what is said of their times."""

import pathlib

import numpy as np
import pytest

from benchmarks import input_pipeline
from homoode_tf import data
from homoode_tf.training.files.workdir import Workdir
from homoode_tf.training.run import Run
from homoode_tf.training.settings import TrainingSettings

DIGITS = pathlib.Path(__file__).parents[2] / "configs" / "digits.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = input_pipeline.read_config(DIGITS, num_steps=1, batch_size=8)
    config.model.update({"channels": 4, "head_channels": 8, "groups": 2, "solver": "euler"})
    folder = tmp_path_factory.mktemp("pipeline")
    settings = TrainingSettings.from_config(config)
    return Run(settings, Workdir(folder / "run"), folder / "data", "one_device")


def test_all_steps_are_alike(run):
    results = input_pipeline.measure(run, rounds=2, num_steps=3)
    for side in ("pipeline", "constant batch"):
        assert [(row["forward"], row["backward"]) for row in results[side]] == [(1.0, 1.0)] * 2
        assert all(row["seconds"] > 0 and row["processor"] > 0 for row in results[side])
    assert len(results["alone"]) == 10 and min(results["alone"]) > 0


@pytest.mark.slow
def test_both_sides_train(run):
    bench = input_pipeline.Bench(run, total_steps=3)
    kernel = run.model.head.logits.kernel
    for side in ("pipeline", "constant batch"):
        before, step = kernel.numpy(), int(run.state.step)
        bench.steps(side, 2)
        assert int(run.state.step) == step + 2
        assert np.abs(kernel.numpy() - before).max() > 0


def test_unequal_steps_are_refused(run, monkeypatch):
    numbers = iter(range(100))

    def steps(self, side, number):
        return {"seconds": 1.0, "processor": 1.0, "forward": float(next(numbers)), "backward": 4.0}

    monkeypatch.setattr(input_pipeline.Bench, "steps", steps)
    with pytest.raises(RuntimeError, match="evaluate F equally often, but did"):
        input_pipeline.measure(run, rounds=1, num_steps=1)


@pytest.mark.parametrize("source", ["streamed", "folder"])
def test_the_same_images_from_files(tmp_path, source):
    config = input_pipeline.read_config(DIGITS, num_steps=1, batch_size=8)
    (tmp_path / "images").mkdir()
    given = (config, tmp_path / "data", 90, tmp_path / "images")
    input_pipeline.take_from(source, *given)
    images = data.load(config.dataset, data_dir=tmp_path / "data", cache_megabytes=0)
    assert config.cache_megabytes == 0 and images.info.image_shape == (8, 8, 1)
    total = images.info.num_train + images.info.num_validation + images.info.num_test
    assert total == (90 if source == "folder" else 1797)


def test_report():
    def rows(*seconds):
        return [{"seconds": s, "processor": 0.4, "forward": 8.0, "backward": 8.0} for s in seconds]

    results = {
        "machine": {"command": "python -m x", "processor": "P", "cores": 2},
        "dataset": "cifar10",
        "batch_size": 64,
        "num_steps": 10,
        "alone": [0.002, 0.001, 0.002],
        "pipeline": rows(0.22, 0.42, 0.32),
        "constant batch": rows(0.2, 0.4, 0.32),
    }
    assert input_pipeline.cost(results) == pytest.approx(0.05)
    text = input_pipeline.report(results)
    assert "batch 64 of cifar10, 8 + 8 evaluations of F a step, 3 rounds of 10 steps" in text
    assert "costs +5.00 % of a step's time and +0.00 % of its processor time" in text
    assert "makes a batch in 2.00 ms, 32,000 images/s; a step takes 160 times as long." in text
