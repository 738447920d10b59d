# SPDX-License-Identifier: Apache-2.0
"""A run comes back: as a Keras model, as the start of another run, and for more epochs."""

import json
import shutil

import keras
import numpy as np
import pytest

import homoode_tf
from configs import digits
from homoode_tf import data
from homoode_tf.errors import InvalidValueError
from homoode_tf.serving.predict import ServedModel
from homoode_tf.training import train
from tests.malformed import commands
from tests.training.fakes import FakeImages


def small(**changes):
    """The recipe of the digits with a small model and few steps; ten are an epoch."""
    config = digits.get_config()
    values = {
        "epochs": 0.3,
        "batch_size": 128,
        "log_every_steps": 1,
        "evaluate_every_epochs": 1,
        "model.channels": 4,
        "model.head_channels": 8,
        "model.groups": 2,
        "model.solver": "rk4",
        "model.num_steps": 1,
    }
    config.update_from_flattened_dict(
        values | {name.replace("__", "."): value for name, value in changes.items()}
    )
    return config


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data_dir):
    """The folder of a run of three steps."""
    workdir = tmp_path_factory.mktemp("run")
    train(small(weight_averaging__momentum=0.5), workdir, data_dir, "one_device")
    return workdir


@pytest.fixture
def test_images(data_dir):
    return next(iter(data.load("digits", data_dir=data_dir).evaluation_batches("test", 360)))


def test_a_run_loads_as_a_keras_model(finished, test_images):
    images, labels = test_images
    model = homoode_tf.load(finished)
    assert isinstance(model, homoode_tf.models.ImageClassifier)
    assert model.class_names == tuple("0123456789")
    logits = model(images).numpy()
    result = json.loads((finished / "result.json").read_text())
    accuracy = np.mean(logits.argmax(-1) == labels.numpy())
    assert accuracy == pytest.approx(result["test_accuracy"], abs=1e-6)
    served = ServedModel(finished / "saved_model").predict(images.numpy())
    np.testing.assert_allclose(served.logits, logits, atol=1e-4)
    same = keras.saving.load_model(finished / "model.keras")
    np.testing.assert_array_equal(same(images), logits)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), "model.keras does not exist: give the folder of a run"),
        (lambda path: None, "must be the folder of a run or a .keras file"),
        (
            lambda path: path.with_suffix(".keras").write_text("no model"),
            "is damaged.* --mode=export",
        ),
    ],
)
def test_what_is_no_run_is_said_in_one_line(tmp_path, make, message):
    path = tmp_path / "run"
    make(path)
    path = path.with_suffix(".keras") if path.with_suffix(".keras").exists() else path
    with pytest.raises(InvalidValueError, match=message) as caught:
        homoode_tf.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2] + b"damage" + content[len(content) // 2 + 6 :],
    ],
)
def test_a_damaged_model_is_called_so_and_how_to_make_it_again(tmp_path, damage):
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((9,)), keras.layers.Dense(99)]).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InvalidValueError, match=r"model\.keras is damaged.* --mode=export"):
        homoode_tf.load(tmp_path)


def test_a_part_that_keras_does_not_know_is_no_damage(tmp_path):
    class Own(keras.layers.Dense):
        pass

    keras.Sequential([keras.Input((3,)), Own(2)]).save(tmp_path / "model.keras")
    with pytest.raises(InvalidValueError, match="Parts of your own must be registered"):
        homoode_tf.load(tmp_path)


def test_starting_from_a_run_whose_classes_are_others(finished, tmp_path, capsys):
    """On images of another size, too; what is frozen stays as it was, its moments included."""
    config = small(init_from=str(finished), freeze=("stem", "initial_point"), batch_size=8)
    config.dataset = FakeImages()
    train(config, tmp_path, strategy="one_device")
    assert "the head starts anew, its classes are others" in capsys.readouterr().out
    given, found = homoode_tf.load(finished), homoode_tf.load(tmp_path)
    assert (found.head.num_classes, found.class_names) == (3, ("a", "b", "c"))
    for part in ("stem", "implicit"):
        pairs = zip(getattr(given, part).weights, getattr(found, part).weights, strict=True)
        for theirs, mine in pairs:
            if not mine.name.endswith("nfe"):
                moved = np.abs(mine.numpy() - theirs.numpy()).max()
                frozen = part == "stem" or "initial_point" in mine.path
                assert (moved == 0) if frozen else (0 < moved < 0.1), mine.path


def test_starting_from_a_file_with_the_same_classes(finished, tmp_path, data_dir, capsys):
    """Where a step is next to nothing the new run has the weights of the old one."""
    config = small(
        init_from=str(finished / "model.keras"),
        epochs=0.1,
        optimizer__learning_rate=1e-30,
        optimizer__final_learning_rate=0.0,
    )
    train(config, tmp_path, data_dir, "one_device")
    assert "anew" not in capsys.readouterr().out
    given, found = homoode_tf.load(finished), homoode_tf.load(tmp_path)
    for theirs, mine in zip(given.task_variables, found.task_variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), mine.path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init_from": "nowhere"}, "must be the folder of a run or a .keras file, got 'nowhere'"),
        ({"model.channels": 8}, r"the stem of .* weights of shape .* ask for \(3, 3, 1, 8\)"),
        ({"model.layer": "neural_ode"}, "the layer of .* does not fit"),
        ({"dataset": FakeImages(), "batch_size": 8, "freeze": ("head",)}, "starts anew"),
        ({"freeze": ("body",)}, "config.freeze must be a tuple of some of stem, layer"),
        ({"freeze": ("stem", "layer", "head")}, "config.freeze must leave something to train"),
        ({"model.layer": "neural_ode", "freeze": ("initial_point",)}, "NeuralODE does not have"),
    ],
)
def test_what_cannot_be_the_start(finished, tmp_path, data_dir, changes, message):
    config = small(init_from=str(finished))
    for name, value in changes.items():
        config.update_from_flattened_dict({name: value})
    with pytest.raises(InvalidValueError, match=message):
        train(config, tmp_path / "run", data_dir, "one_device")
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.slow
def test_more_epochs_for_a_finished_run(finished, tmp_path, data_dir):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    before = json.loads((tmp_path / "result.json").read_text())
    config = small(weight_averaging__momentum=0.5, epochs=0.5)
    result = train(config, tmp_path, data_dir, "one_device")
    assert (before["steps"], result["steps"]) == (3, 5)
    assert json.loads((tmp_path / "result-epochs=0.3.json").read_text()) == before
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert [line["step"] for line in logged] == [1, 2, 3, 4, 5]
    # Down to the end of each cosine, and between them up to where the longer one is.
    rates = [line["learning_rate"] for line in logged]
    assert rates[2] == pytest.approx(1e-6) == rates[4] and rates[3] > 1e-5


def test_the_default_folder_tells_recipes_and_changes_apart():
    flags = ["--mode=evaluate", "--config=configs/cifar10_fast.py", "--config.epochs=3"]
    done = commands.run(["train.py", *flags])
    assert "workdir runs/cifar10_fast-epochs=3 holds no run" in done.errors


@pytest.mark.slow
@pytest.mark.parametrize("exported", ["float32", "training"])
def test_a_run_in_bfloat16_leaves_a_model_that_runs_anywhere(exported, tmp_path, data_dir):
    config = small(epochs=0.1, precision="mixed_bfloat16", export_precision=exported)
    result = train(config, tmp_path, data_dir, "one_device")
    assert result["precision"] == "mixed_bfloat16"
    model = homoode_tf.load(tmp_path)
    policy = "float32" if exported == "float32" else "mixed_bfloat16"
    assert model.implicit.dynamics.dtype_policy.name == policy
    assert model.implicit.dynamics.conv1.dtype_policy.name == policy
