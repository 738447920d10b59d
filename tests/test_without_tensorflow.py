# SPDX-License-Identifier: Apache-2.0
"""A run that is packed, trained by JAX and unpacked is one that TensorFlow could have made."""

import json
import subprocess
import sys
import time
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import compare_digits, digits
from homoode_tf import training
from homoode_tf.compare import Experiment
from homoode_tf.errors import InvalidValueError
from homoode_tf.training.files.workdir import Workdir, WorkdirError
from homoode_tf.training.milestones import Milestones
from homoode_tf.training.run import Run
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.step import make_train_step
from scripts.without_tensorflow import comparison
from scripts.without_tensorflow.pack import pack, variables_of
from scripts.without_tensorflow.unpack import unpack

jax = pytest.importorskip("jax")
there = pytest.importorskip("scripts.without_tensorflow.train")

BATCH = 64


@pytest.fixture(autouse=True)
def wide_integers():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def small(**changes):
    config = digits.get_config()
    config.update_from_flattened_dict(
        {
            "model.channels": 8,
            "model.groups": 4,
            "model.head_channels": 8,
            "model.solver": "heun",
            "model.num_steps": 2,
            "model.dropout_rate": 0.0,  # XLA draws other masks
            "optimizer.name": "muon",
            "optimizer.learning_rate": 0.08,
            "optimizer.adam_learning_rate": 0.02,
            "weight_averaging.momentum": 0.9,
            "batch_size": BATCH,
            "epochs": 2.0,
            "precision": "float32",
            **changes,
        }
    )
    return config


def make_run(config, folder):
    keras.utils.clear_session()  # as in a process of its own: Keras counts up its names
    return Run(TrainingSettings.from_config(config), Workdir(folder))


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    pack(make_run(small(), folder / "run"), folder)
    return folder


@pytest.fixture(scope="module")
def data(packed):
    with np.load(packed / "images.npz") as file:
        return file["images"], file["labels"]


@pytest.mark.slow
def test_steps_are_those_of_tensorflow(packed, data, tmp_path):
    images, labels = (array[: 3 * BATCH] for array in data)
    run = make_run(small(), tmp_path)
    run.restore_or_initialise()
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(BATCH)
    step, here = make_train_step(run.state, run.settings), iter(batches)
    one = there.Packed(packed)
    shapes = [jax.ShapeDtypeStruct((BATCH, *images.shape[1:]), "uint8")]
    shapes.append(jax.ShapeDtypeStruct((BATCH,), "int64"))
    module = jax.jit(one.module("step", *shapes))

    def values():
        return {name: variable.numpy() for name, variable in variables_of(run).items()}

    for number, batch in enumerate(batches, 1):
        # Each from the same variables: at this rate a rounding grows thirtyfold with every step.
        changed = module(values(), *(part.numpy() for part in batch))
        step(here)
        wanted = values()
        assert changed.keys() == wanted.keys() == one.variables.keys()
        assert int(changed["counter_0000"]) == number
        for name, value in wanted.items():
            scale = np.max(np.abs(value)) + 1e-6
            np.testing.assert_allclose(changed[name] / scale, value / scale, atol=1e-3)


@pytest.mark.slow
def test_a_run_comes_back_complete(packed, data, tmp_path):
    one, (images, labels) = there.Packed(packed), map(jax.numpy.asarray, data)
    compiled = there.Compiled(one, images, labels.astype("int64"))
    there.train(one, compiled, time.monotonic() + 600, most_epochs=1)
    (line,) = json.loads((packed / "metrics.json").read_text())
    assert line["step"] == one.plan["steps_per_epoch"] == one.plan["total_steps"] // 2
    assert unpack(small(), tmp_path / "early", packed) is None
    assert unpack(small(), tmp_path / "early", packed) is None  # which leaves it as it is
    early = training.train(small(), tmp_path / "early")
    assert early["steps"] == 40 and early["test_accuracy"] > 0.2
    assert unpack(small(), tmp_path / "early", packed) == early
    lines = (tmp_path / "early" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [20, 30, 40]

    rest = there.Packed(packed)  # as another process finds it
    there.train(rest, compiled, time.monotonic() + 600, most_epochs=9)
    assert [line["epoch"] for line in rest.metrics] == [1, 2]
    assert rest.metrics[1]["loss"] < rest.metrics[0]["loss"] < np.log(10)

    result = unpack(small(), tmp_path / "run", packed)
    assert result["steps"] == 40
    assert result["validation_accuracy"] == pytest.approx(rest.metrics[1]["validation_accuracy"])
    assert result["test_accuracy"] > 0.2
    assert (result["nfe_forward"], result["nfe_backward"]) == (4, 4)
    assert training.train(small(), tmp_path / "run") == result
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [20, 40]


@pytest.mark.slow
def test_a_comparison_comes_back_complete(packed, tmp_path, monkeypatch):
    def of_one(_):
        config = compare_digits.get_config()
        simple = {"optimizer.name": "sgd", "optimizer.learning_rate": 0.01}
        config.recipe.update(small(epochs=0.3, **simple).to_dict())  # six steps
        config.seeds = (0, 1, 2)
        config.models = {"homoode": config.models.homoode}
        return config

    monkeypatch.setattr(comparison.pack, "config_of", of_one)
    folders = ["--workdir", str(tmp_path / "runs"), "--packed", str(tmp_path / "packed")]
    given = ["comparison", "--config=any", *folders]
    monkeypatch.setattr(sys, "argv", given)
    comparison.main()
    runs = [tmp_path / "packed" / "homoode" / f"seed{seed}" for seed in range(3)]
    members = Experiment(of_one(None), tmp_path / "runs").members
    # One that was not traced is that which `pack` would have made.
    pack(make_run(members[1].config, tmp_path / "run"), tmp_path / "alone", with_images=False)
    alone, like, first = map(there.Packed, (tmp_path / "alone", runs[1], runs[0]))
    assert not (tmp_path / "alone" / "images.npz").exists()
    assert alone.plan == like.plan and alone.plan["seed"] == 1
    assert alone.but_seed == like.but_seed == first.but_seed  # compiled once for all
    assert any(np.any(alone.variables[name] != value) for name, value in first.variables.items())
    for name, value in alone.variables.items():
        np.testing.assert_array_equal(like.variables[name], value)

    # A broken one fails alone; what is not there is left to `compare`.
    (runs[1] / "step.mlirbc").write_bytes(b"")
    command = [sys.executable, there.__file__, *map(str, runs[:2]), "--processes", "2"]
    assert subprocess.run([*command, "--images", str(packed / "images.npz")]).returncode == 1
    assert [(run / "trained.npz").exists() for run in runs] == [True, False, False]
    monkeypatch.setattr(sys, "argv", [*given, "--back"])
    comparison.main()
    assert [member.is_complete for member in members] == [True, False, False]
    assert members[0].outcome()["steps"] == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"non_finite": "skip"},
        {"early_solver.fraction": 0.5},
        {"augmentation.rand_augment": 1},
        {"augmentation.mixup": 0.2},
    ],
)
def test_what_cannot_be_packed_is_refused(changes, tmp_path):
    settings = TrainingSettings.from_config(small(**changes))
    run = types.SimpleNamespace(
        settings=settings,
        state=types.SimpleNamespace(may_skip=settings.non_finite == "skip"),
        milestones=Milestones(settings, num_train=1000),
    )
    with pytest.raises(InvalidValueError, match="what is packed has no config.non_finite=skip"):
        pack(run, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


@pytest.mark.slow
def test_a_run_that_has_begun_is_refused(tmp_path):
    training.train(small(epochs=0.1), tmp_path / "run")
    config = small(epochs=0.1)
    folder = Workdir(tmp_path / "run")
    run = Run(TrainingSettings.from_config(config), folder, origins=folder.origins(config))
    with pytest.raises(WorkdirError, match="has begun: give another workdir"):
        pack(run, tmp_path / "packed")


def test_crops_are_windows_of_the_padded_image():
    images = np.random.default_rng(0).integers(1, 256, (40, 6, 5, 3)).astype(np.uint8)
    changed = np.asarray(there.crop_and_flip(jax.random.key(0), images, 2, 0.5))
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    seen = set()
    for image, whole in zip(changed, padded, strict=True):
        (found,) = {
            (row, column, flip)
            for row in range(5)
            for column in range(5)
            for flip in (1, -1)
            if np.array_equal(image[:, ::flip], whole[row : row + 6, column : column + 5])
        }
        seen.add(found)
    assert {flip for *_, flip in seen} == {1, -1}
    assert len(seen) > 20


def test_a_square_is_cut_out():
    images = np.full((50, 16, 16, 1), 7, np.uint8)
    left = np.asarray(there.cut_out(jax.random.key(1), images, 0.25))[..., 0]
    for image in left:
        rows, columns = np.nonzero(image == 0)
        assert 7 <= np.ptp(rows) + 1 <= 9
        assert (np.ptp(rows) + 1) * (np.ptp(columns) + 1) == rows.size
    assert len({image.tobytes() for image in left}) > 20
