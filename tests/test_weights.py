# SPDX-License-Identifier: Apache-2.0
"""The weights that ship: what they are, that they are what their cards say, and how they get in."""

import json
import shutil

import numpy as np
import pytest

from configs import digits
from homoode_tf import data, models, training
from homoode_tf.errors import InvalidValueError
from homoode_tf.models import weights
from homoode_tf.report.weights.measure import images_of
from scripts import take_home, weights_page
from tests import shipped as small

NAMES = models.pretrained_names()


def accuracy(model, images):
    batches = images.evaluation_batches("test", 120)
    right = [model.predict_on_batch(x).argmax(-1) == y for x, y in batches.as_numpy_iterator()]
    return np.mean(np.concatenate(right))


def test_what_ships():
    assert {"digits", "mnist"} <= {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_holds_the_weights_and_nothing_else(name):
    model, card = models.pretrained(name), models.pretrained_card(name)
    assert isinstance(model, models.ImageClassifier) and not model.compiled
    assert (model.mean, model.std, model.class_names) == (card.mean, card.std, card.class_names)
    assert (model.task_parameters, model.initial_point_parameters) == (
        card.parameters,
        card.initial_point_parameters,
    )
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    size = (weights.FOLDER / f"{name}.keras").stat().st_size
    assert size < 4 * sum(np.prod(v.shape) for v in model.variables) + 120_000
    confusion = np.array(card.measured["confusion"])
    assert confusion.sum() == card.measured["test_examples"]
    assert np.trace(confusion) / confusion.sum() == pytest.approx(card.measured["test_accuracy"])
    assert len(card.commit) == 40 and card.licence and card.measured["noise"]


def test_the_digits_are_read_as_the_card_says(tmp_path):
    """Within one image, because `predict` solves a batch with steps in common."""
    images = data.load("digits", data_dir=tmp_path)
    said = models.pretrained_card("digits").measured["test_accuracy"]
    assert accuracy(models.pretrained("digits"), images) == pytest.approx(said, abs=1 / 359)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "digits"])
def test_where_the_data_are_at_hand_the_cards_hold(name):
    card = models.pretrained_card(name)
    try:
        images = images_of(card)
    except data.DataNotFoundError as error:
        pytest.skip(str(error))
    said = card.measured["test_accuracy"]
    assert accuracy(models.pretrained(name), images) == pytest.approx(said, abs=2e-3)


def test_the_committed_page_is_what_the_command_writes():
    assert weights_page.PATH.read_text("utf-8") == weights_page.page()


@pytest.mark.parametrize("name", ["cifra", "", "../digits", None, 3])
def test_an_unknown_name_is_answered_with_the_known_ones(name):
    for ask in (models.pretrained, models.pretrained_card):
        with pytest.raises(InvalidValueError, match="must be one of .*digits"):
            ask(name)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"dataset": 3, "more": 1}', "{", "\x00"], ids=repr
)
def test_a_damaged_card_is_one_line(shipped, text):
    (shipped.folder / "small.json").write_text(text)
    with pytest.raises(InvalidValueError, match=r"small.json is no card: .* Install") as caught:
        models.pretrained("small")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spoil", ["cut", "change", "swap", "remove"])
def test_damaged_weights_are_one_line(shipped, spoil):
    folder, card, _ = shipped
    path = folder / "small.keras"
    content = path.read_bytes()
    middle = len(content) // 2
    if spoil == "remove":
        (folder / "small.json").unlink()
    elif spoil == "swap":
        small.write_card(folder, card, sha256="0" * 64)
    else:
        changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes(content[:middle] if spoil == "cut" else changed)
    with pytest.raises(InvalidValueError, match="damaged|no card") as caught:
        models.pretrained("small")
    assert "\n" not in str(caught.value) and "Install" in str(caught.value)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of two steps, and that of its data."""
    config = digits.get_config()
    changes = {f"model.{name}": value for name, value in small.MODEL.items()}
    config.update_from_flattened_dict({**changes, "epochs": 0.2, "batch_size": 128, "seed": 7})
    workdir, data_dir = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("data")
    training.train(config, workdir, data_dir, "one_device")
    return workdir, data_dir


def test_a_run_is_taken_home(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    monkeypatch.setattr(weights_page, "PATH", tmp_path / "weights.md")
    monkeypatch.setattr(take_home, "_commit", lambda given: "abc")
    workdir, data_dir = map(str, run)
    flags = ["--data_dir", data_dir, "--class_names", *"abcdefghij"]
    assert take_home.main([workdir, "mine", *flags]) == 0
    card = models.pretrained_card("mine")
    assert (card.dataset, card.seed, card.commit, card.steps) == ("digits", 7, "abc", 2)
    assert card.recipe["model.channels"] == 4 and card.recipe["batch_size"] == 128
    assert card.licence == take_home.LICENCES["digits"]
    result = json.loads((run[0] / "result.json").read_text())
    assert card.measured["test_accuracy"] == pytest.approx(result["test_accuracy"], abs=1 / 359)
    assert card.measured["validation_examples"] == 144
    assert "## mine" in (tmp_path / "weights.md").read_text()
    assert models.pretrained("mine").class_names == card.class_names == tuple("abcdefghij")
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "flags", "said"),
    [
        (lambda folder: (folder / "result.json").unlink(), [], "holds no complete run"),
        (lambda folder: (folder / "config.json").unlink(), [], "holds no run"),
        (lambda folder: None, ["--class_names", "one"], "--class_names must be 10, got 1"),
        (lambda folder: None, ["--commit=nonsense"], "knows no commit 'nonsense'"),
        (lambda folder: None, ["--data_dir", "{folder}"], "holds no TFDS data sets"),
    ],
)
def test_what_cannot_be_taken_home_is_one_line(
    run, tmp_path, capsys, monkeypatch, spoil, flags, said
):
    folder = tmp_path / "run"
    shutil.copytree(run[0], folder)
    spoil(folder)
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    if flags != ["--commit=nonsense"]:
        monkeypatch.setattr(take_home, "_commit", lambda given: "abc")
    flags = [flag.format(folder=folder) for flag in flags]
    assert take_home.main([str(folder), "mine", *flags]) == 2
    errors = capsys.readouterr().err
    assert said in errors and len(errors.splitlines()) == 1
    assert not (tmp_path / "mine.keras").exists()
