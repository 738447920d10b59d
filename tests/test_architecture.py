# SPDX-License-Identifier: Apache-2.0
"""What the house is held to: its floors, short parts, and a short way from layer to step."""

import pathlib
import re
import subprocess
import sys

import keras
import pytest
import tensorflow as tf

from homoode_tf.layers import HomoODE
from tests import source_lines

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "homoode_tf"

# Each with its reason; constructors are looked at apart, below.
LONG_FUNCTIONS: dict[str, str] = {}
MANY_PARAMETERS = {
    "homotopy/continuation.py:trace": "the one door of homotopy: each is a setting of its user",
    "solvers/ode/runge_kutta.py:RungeKutta.solve": "the signature of tfp.math.ode.Solver.solve",
}


def test_each_floor_knows_only_those_below_it():
    # The contracts are in pyproject.toml.
    command = [pathlib.Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("room", ["solvers", "homotopy"])
def test_solvers_know_no_keras_model(room):
    # Of Keras only what registers a class, so that it is found in a `.keras` file.
    used = set()
    for _, text in source_lines.files(PACKAGE / room):
        used |= set(re.findall(r"\bkeras\.\w+|from keras\b.*", "\n".join(text)))
    assert used <= {"keras.saving"}


def test_no_file_holds_two_ideas():
    lines = {str(path): len(text) for path, text in source_lines.files(PACKAGE)}
    assert {path: count for path, count in lines.items() if count > 400} == {}


def test_no_function_is_longer_than_a_page():
    lines = {function.name: function.lines for function in source_lines.functions(PACKAGE)}
    long = {name: count for name, count in lines.items() if count > 60}
    assert long.keys() == LONG_FUNCTIONS.keys(), long


def test_no_function_takes_more_parameters_than_a_reader_can_hold():
    counts = {function.name: function.parameters for function in source_lines.functions(PACKAGE)}
    many = {
        name: count
        for name, count in counts.items()
        if count > 8 and not source_lines.is_constructor_of_a_public_class(name)
    }
    assert many.keys() == MANY_PARAMETERS.keys(), many


class Watched(keras.layers.Layer):
    """A dynamics that notes, each time it is called, the functions of this package on the stack."""

    def __init__(self):
        super().__init__()
        self.ways = []

    def build(self, *shapes):
        self.rate = self.add_weight(name="rate", shape=[])
        self.built = True

    def call(self, state, condition):
        way, frame = [], sys._getframe(1)
        while frame is not None:
            code = frame.f_code
            if pathlib.Path(code.co_filename).is_relative_to(PACKAGE):
                if isinstance(frame.f_locals.get("self"), HomoODE):
                    name = f"HomoODE.{code.co_name}"
                else:
                    name = code.co_name
                if name == "take_step":
                    # A branch that is written within it is a part of it.
                    way = [(n, c) for n, c in way if c not in code.co_consts]
                way.append((name, code))
            frame = frame.f_back
        way = [name for name, _ in way]
        self.ways.append(way)
        return self.rate * state + condition


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize("step_control", ["batch", "sample"])
@pytest.mark.parametrize("gradient", ["checkpoint", "adjoint", "backprop"])
def test_the_way_from_the_layer_to_a_step_is_short(gradient, step_control, traced):
    dynamics = Watched()
    layer = HomoODE(dynamics, gradient=gradient, step_control=step_control)
    call = tf.function(layer, autograph=False) if traced else layer
    call(tf.ones([2, 3]), training=True)
    adapters, frames = [], []
    for way in dynamics.ways:
        if "take_step" in way:
            step = way.index("take_step")
            adapters.append(way[:step])
            frames.append(way[step : way.index("HomoODE.call") + 1])
    assert frames, "no evaluation within take_step was seen"
    most_adapters, longest = max(adapters, key=len), max(frames, key=len)
    assert len(most_adapters) <= 1, most_adapters
    assert len(longest) <= 7, longest
