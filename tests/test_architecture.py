# SPDX-License-Identifier: Apache-2.0
"""What the house is held to: its floors, short parts, and a short way from layer to step."""

import ast
import pathlib
import re
import subprocess
import sys

import keras
import pytest
import tensorflow as tf

from homoode_tf.layers import HomoODE

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "homoode_tf"

DEFS = (ast.FunctionDef, ast.AsyncFunctionDef)
MANY_PARAMETERS = {
    "homotopy/continuation.py:.trace": "the one door of homotopy: each is a setting of its user",
    "solvers/ode/runge_kutta.py:.RungeKutta.solve": "the signature of tfp.math.ode.Solver.solve",
}


def test_each_floor_knows_only_those_below_it():
    # The contracts are in pyproject.toml.
    command = [pathlib.Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def files(folder=PACKAGE):
    """Yields the Python files below a folder, each with its text."""
    for path in sorted(folder.rglob("*.py")):
        yield path, path.read_text(encoding="utf-8")


def functions(node, scope, lines):
    """Yields every function below a node: name, lines of code, and number of parameters."""
    for child in ast.iter_child_nodes(node):
        inner = f"{scope}.{child.name}" if isinstance(child, (ast.ClassDef, *DEFS)) else scope
        if isinstance(child, DEFS):
            first = child.body[0]
            begin = first.end_lineno if ast.get_docstring(child) else first.lineno - 1
            code = lines[child.lineno - 1 : first.lineno - 1] + lines[begin : child.end_lineno]
            code = [line for line in map(str.strip, code) if line and not line.startswith("#")]
            takes = [a.arg for a in ast.iter_child_nodes(child.args) if isinstance(a, ast.arg)]
            takes = [name for name in takes if name not in ("self", "cls")]
            yield inner, len(code), len(takes)
        yield from functions(child, inner, lines)


@pytest.fixture(scope="module")
def every_function():
    found = []
    for path, text in files():
        name = path.relative_to(PACKAGE).as_posix() + ":"
        found += functions(ast.parse(text), name, text.splitlines())
    return found


@pytest.mark.parametrize("room", ["solvers", "homotopy"])
def test_solvers_know_no_keras_model(room):
    # Of Keras only what registers a class, so that it is found in a `.keras` file.
    texts = [text for _, text in files(PACKAGE / room)]
    used = {name for text in texts for name in re.findall(r"\bkeras\.\w+|from keras\b.*", text)}
    assert used <= {"keras.saving"}


def test_no_file_holds_two_ideas():
    lines = {str(path): len(text.splitlines()) for path, text in files()}
    assert {path: count for path, count in lines.items() if count > 400} == {}


def test_no_function_is_longer_than_a_page(every_function):
    long = {name: lines for name, lines, _ in every_function if lines > 60}
    assert long == {}


def test_no_function_takes_more_than_a_reader_can_hold(every_function):
    # Constructors of public classes are where the settings are.
    constructor = re.compile(r".*:(\.[A-Z]\w*)+\.__init__")
    many = {name for name, _, takes in every_function if takes > 8 and not constructor.match(name)}
    assert many == MANY_PARAMETERS.keys()


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
