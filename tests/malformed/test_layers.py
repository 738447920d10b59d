# SPDX-License-Identifier: Apache-2.0
"""What is wrong with times, limits, events, states and models is said at every entrance."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import solvers
from homoode_tf.errors import UserError
from homoode_tf.layers import (
    DEQ,
    AugmentedNeuralODE,
    DenseDynamics,
    FunctionDynamics,
    HomoODE,
    NeuralODE,
)

X = tf.constant([[0.5, -1.0], [1.5, 2.0]])
LAYERS = {
    "neural": lambda **options: NeuralODE(DenseDynamics(2), **options),
    "augmented": lambda **options: AugmentedNeuralODE(DenseDynamics(3), 1, **options),
    "homoode": lambda **options: HomoODE(DenseDynamics(2), **options),
}
CALLS = {
    **{name: lambda times, make=make: make()(X, times=times) for name, make in LAYERS.items()},
    "layer.solve": lambda times: LAYERS["neural"]().solve(X, times=times),
    "solver.solve": lambda times: solvers.get("dopri5").solve(lambda t, z: -z, 0.0, X, times),
    "bdf": lambda times: solvers.get("bdf").solve(lambda t, z: -z, 0.0, X, times),
}


def refused(call, words):
    """Keras adds the arguments of a layer's call to what was said in one line."""
    with pytest.raises(UserError, match=words):
        call()


@pytest.mark.parametrize("entrance", CALLS)
@pytest.mark.parametrize(
    ("times", "words"),
    [
        (0.5, "imes must .*got shape"),
        ([[[0.5]]], "imes must .*got shape"),
        ([], "imes must be finite and increase"),
        ([0.5, 0.2, 0.7], "imes must be finite and increase"),
        ([-0.5, 0.5], "imes must be finite and increase"),
        ([[0.1, 0.2], [0.3]], "Times must be real numbers"),
        ([0.5, None], "Times must be real numbers"),
        ("soon", "Times must be real numbers"),
        ([0.5j], "Times must be real numbers"),
        (tf.constant([0.5j]), "Times must be real numbers"),
    ],
)
def test_times(entrance, times, words):
    refused(lambda: CALLS[entrance](times), words)


@pytest.mark.parametrize("times", [0.5, [[0.1, 0.2], [0.3]], [0.5, 0.2, 0.7], ["soon"], []])
def test_times_of_a_layer_are_refused_when_it_is_made(times):
    for make in LAYERS.values():
        refused(lambda make=make: make(times=times), "^times")


@pytest.mark.parametrize("times", [0.5, [[0.1, 0.2], [0.3]]])
def test_times_within_a_functional_model(times):
    for make in LAYERS.values():
        refused(lambda make=make: make()(keras.Input((2,)), times=times), "imes must be")


@pytest.mark.parametrize("make", [*LAYERS.values(), lambda **o: solvers.get("tsit5", **o)])
def test_a_longest_step_of_zero(make):
    refused(lambda: make(max_step_size=0.0), "max_step_size must be a number above 0 .* got 0.0")
    refused(lambda: make(stop_times=[[0.1], [0.2, 0.3]]), r"stop_times\[0\] must be a number")


@pytest.mark.parametrize("make", LAYERS.values())
@pytest.mark.parametrize("step_control", solvers.STEP_CONTROLS)
def test_an_event_that_never_fires(make, step_control):
    layer = make(step_control=step_control)

    def solve():
        event = lambda t, z: z[..., 0] + 100.0 if step_control == "sample" else z[0, 0] + 100.0  # noqa: E731
        return layer.solve(X, times=[0.1], event_fn=event).times

    refused(solve, "event_fn did not change its sign up to the final time; solve to a later")
    with pytest.raises(tf.errors.InvalidArgumentError, match="event_fn did not change its sign"):
        tf.function(solve, autograph=False)()


NESTED = {
    "neural": lambda: NeuralODE(FunctionDynamics(lambda z: z)),
    "homoode": lambda: HomoODE(FunctionDynamics(lambda z, x: z), initial_point="zeros"),
    "deq": lambda: DEQ(FunctionDynamics(lambda z, x: z)),
}


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize(
    ("other", "words"),
    [
        (tf.ones([3]), r"one batch size: inputs\[0\] has 2, inputs\[1\] has 3"),
        (tf.ones([2], tf.int32), r"floating, but inputs\[1\] is int32"),
        (tf.constant(1.0), r"inputs\[1\] must have a batch dimension"),
    ],
)
def test_a_mixed_nested_state(name, other, words):
    for call in (NESTED[name](), NESTED[name]().solve):
        refused(lambda call=call: call([X, other]), words)


@pytest.mark.parametrize(
    ("solver", "state", "words"),
    [
        ("dopri5", [X, tf.ones([2], tf.int32)], "one floating or complex dtype"),
        ("bdf", [X, tf.ones([2], tf.float64)], "one floating or complex dtype"),
        ("sample", [X, tf.ones([3])], "needs one batch size for all components"),
        ("sample", [X, tf.constant(1.0)], "needs a leading batch dimension"),
    ],
)
def test_a_mixed_nested_state_of_a_solver(solver, state, words):
    options = {"step_control": "sample"} if solver == "sample" else {}
    found = solvers.get("dopri5" if options else solver, **options)
    refused(lambda: found.solve(lambda t, z: z, 0.0, state, [1.0]), words)


@pytest.mark.parametrize("kind", [NeuralODE, HomoODE, DEQ, lambda m: AugmentedNeuralODE(m, 1)])
def test_a_functional_model_of_other_inputs(kind):
    def functional(*names):
        inputs = [keras.Input((2,), name=name) for name in names]
        return keras.Model(inputs, keras.layers.Add()(inputs))

    for names in [("a", "b", "c"), ("x", "z"), ("z", "t")]:
        given = r"\(" + ", ".join(names) + r"\)"
        refused(lambda names=names: kind(functional(*names)), f"must have the inputs .* {given}")


@pytest.mark.parametrize("event", [lambda t, z: z, lambda t, z: z[0, 0] > 0.0])
def test_what_is_no_event(event):
    solver = solvers.get("dopri5")
    for call in (
        lambda: LAYERS["neural"]().solve(X, times=[1.0], event_fn=event),
        lambda: solver.solve(lambda t, z: -z, 0.0, X, [1.0], event_fn=event),
    ):
        refused(call, "event_fn must return float32 of shape")
    every = tfp.math.ode.ChosenBySolver(1.0)
    refused(
        lambda: solver.solve(lambda t, z: -z, 0.0, X, every, event_fn=lambda t, z: z[0, 0]),
        "give one solution time, .* got ChosenBySolver",
    )


def test_what_is_no_function():
    rate = keras.Variable(0.5)
    refused(lambda: FunctionDynamics(3), "function must be one of .* got 3")
    refused(lambda: FunctionDynamics(lambda z: rate * z, rate), "variables must be a list of")
    for kind in (NeuralODE, HomoODE, DEQ):
        refused(lambda kind=kind: kind(np.tanh), r"FunctionDynamics\(function, variables\)")
