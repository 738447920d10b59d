# SPDX-License-Identifier: Apache-2.0
"""docs/augmented.md: what is measured of the parts, and that its numbers were measured."""

import json
import pathlib
import re

import numpy as np
import pytest

from homoode_tf.layers import AugmentedNeuralODE, ConvDynamics
from homoode_tf.models import Head, ImageClassifier, Stem
from homoode_tf.plot import Trajectory
from scripts.augmented import figures, measure, page
from scripts.augmented.held import hold

DOCS = pathlib.Path(__file__).parent.parent / "docs"
RANDOM = np.random.default_rng(0)
CHANNELS, EXTRA = 4, 2


def test_movement_is_in_units_of_the_input():
    # x turns back after one unit; u goes on by half a unit a step.
    x = np.array([2.0, 4.0, 2.0])[:, np.newaxis, np.newaxis] * np.ones((1, 5, CHANNELS))
    u = np.array([0.0, 1.0, 2.0])[:, np.newaxis, np.newaxis] * np.ones((1, 5, EXTRA))
    curve = Trajectory(np.array([0.0, 0.5, 1.0]), np.concatenate([x, u], axis=-1), np.zeros((3, 5)))
    found = measure.movement(curve, CHANNELS)
    assert found["x"] == {"distance": [0.0, 1.0, 0.0], "length": 2.0}
    assert found["u"] == {"distance": [0.0, 0.5, 1.0], "length": 1.0}


def test_a_probe_reads_what_is_there():
    labels = np.arange(60) % 3
    telling = np.eye(3)[labels] + 0.1 * RANDOM.normal(size=(60, 3))
    noise = RANDOM.normal(size=(60, 3))
    assert measure.probe(telling[:30], labels[:30], telling[30:], labels[30:]) == 1.0
    assert measure.probe(noise[:30], labels[:30], noise[30:], labels[30:]) < 0.7


def test_the_parts_of_a_held_layer_are_read():
    dynamics = ConvDynamics(CHANNELS + EXTRA, groups=3)
    model = ImageClassifier(
        Stem(CHANNELS, strides=(2, 2)),
        AugmentedNeuralODE(dynamics, EXTRA, solver="rk4", num_steps=1),
        Head(CHANNELS + EXTRA, 10, groups=3),
        [0.5],
        [0.25],
    )
    images, labels = RANDOM.integers(0, 256, (20, 8, 8, 1), dtype=np.uint8), np.arange(20) % 2
    model(images)
    held = hold(model.implicit, CHANNELS)
    solved = measure.ends(model, held, images)
    np.testing.assert_array_equal(solved["end"][..., :CHANNELS], solved["start"][..., :CHANNELS])
    assert np.abs(solved["end"][..., CHANNELS:]).min() > 0.0 and solved["evaluations"] == 4.0
    found = measure.reading(model, held, CHANNELS, (images, labels), (images, labels))
    assert found["probe"]["x(0)"] == found["probe"]["x(T)"]
    assert found["head"].keys() == {"whole", "without x", "without u"}


@pytest.fixture(scope="module")
def numbers():
    return json.loads((DOCS / "results" / "augmented" / "augmented.json").read_text("utf-8"))


def test_the_page_has_the_measured_numbers(numbers):
    text = (DOCS / "augmented.md").read_text(encoding="utf-8")
    assert text == page.render(numbers), "run `python -m scripts.augmented`"
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(pictures) == 2 + len(numbers)
    assert all(0 < (DOCS / picture).stat().st_size < 300_000 for picture in pictures)


def test_the_pictures_are_drawn_from_the_numbers(numbers, tmp_path):
    moved = {name: one["movement"] for name, one in numbers.items()}
    figures.movement(tmp_path / "movement.png", moved)
    read = {
        name: {layer: one["probe"] for layer, one in found["reading"].items()}
        for name, found in numbers.items()
    }
    figures.probes(tmp_path / "probes.png", read)
    states = RANDOM.normal(size=(3, 4, 2, 2, CHANNELS + EXTRA))
    curve = Trajectory(np.array([0.0, 0.5, 1.0]), states, np.zeros((3, 4)))
    figures.planes(tmp_path / "ways.png", curve, np.arange(4), CHANNELS)
    assert len(list(tmp_path.glob("*.png"))) == 3
