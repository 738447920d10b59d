# SPDX-License-Identifier: Apache-2.0
"""A state of several small components is solved as one vector, of which nobody sees anything."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import solvers
from homoode_tf.solvers.ode import flat, joined, statement
from homoode_tf.solvers.ode.settings import Settings

TOLERANCE = 1e-8
NUMBER = 4


def random_state():
    rng = np.random.default_rng(0)
    make = lambda *shape: tf.constant(rng.normal(size=shape), tf.float64)  # noqa: E731
    return {"angle": make(), "rates": make(2, 3), "more": {"left": make(4), "right": make(1, 2)}}


def field(t, z, weight):
    """Each component turns another one."""
    left, right = z["more"]["left"], z["more"]["right"]
    return {
        "angle": tf.reduce_sum(left) * tf.cos(t) - z["angle"],
        "rates": weight * z["angle"] - tf.tanh(z["rates"]),
        "more": {
            "left": tf.reduce_mean(z["rates"]) - weight * left,
            "right": tf.reshape(left[:2], [1, 2]) - right,
        },
    }


def solve(mode, times, apart, **options):
    """States, gradients of all of them, and the number of steps; by components, or joined."""
    # A tolerance for each component, though they are alike, keeps them apart.
    each = (TOLERANCE,) * NUMBER if apart else TOLERANCE
    solver = solvers.get("dopri5", rtol=each, atol=each, gradient=mode)
    state, weight = random_state(), tf.constant(0.7, tf.float64)

    @tf.function(autograph=False)
    def run(state, weight):
        with tf.GradientTape() as tape:
            tape.watch([state, weight])
            results = solver.solve(
                field, 0.0, state, times, constants={"weight": weight}, **options
            )
            states = tf.nest.flatten(results.states)
            loss = tf.add_n([tf.reduce_sum(tf.square(y)) for y in states])
        gradients = tape.gradient(loss, [state, weight])
        interpolated = results.interpolant([0.3, 0.6]) if options.get("dense") else ()
        steps = results.diagnostics.num_accepted_steps
        return results.times, results.states, gradients, interpolated, steps

    return run(state, weight)


@pytest.mark.parametrize(
    ("mode", "times", "options"),
    [
        ("adjoint", [1.0], {}),
        ("checkpoint", [1.0], {}),
        ("backprop", [1.0], {}),
        ("adjoint", [0.25, 1.0], {}),
        ("checkpoint", tfp.math.ode.ChosenBySolver(1.0), {}),
        ("checkpoint", [1.0], {"dense": True}),
        ("checkpoint", [5.0], {"event_fn": lambda t, z: z["more"]["left"][0] - 0.12}),
    ],
    ids=["adjoint", "checkpoint", "backprop", "several", "every step", "dense", "event"],
)
def test_joined_or_not_it_is_the_same_solve(mode, times, options):
    one, other = (solve(mode, times, apart, **options) for apart in (False, True))
    tf.nest.assert_same_structure(one, other)
    assert int(one[-1]) == int(other[-1]) > 5
    for a, b in zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


def test_it_is_a_vector_where_that_pays():
    def number(state, **settings):
        problem = statement.of(lambda t, z: z, 0.0, state, [1.0])
        settings = Settings("dopri5", **settings)
        return len(joined.join(problem, tuple, settings)[0].initial_state)

    small = [tf.ones([2, 2])] * 3
    assert number(small) == number([tf.ones([], tf.complex128)] * 20) == 1
    assert number(small[:2]) == 2
    assert number([*small[:2], tf.ones([64, 65])]) == 3
    assert number(small, step_control="sample") == 3
    assert number(small, atol=(1e-3, 1e-4, 1e-5)) == 3
    assert number(small, adjoint_rtol=(1e-3, 1e-4, 1e-5)) == 3

    @tf.function(input_signature=[tf.TensorSpec([None, 2])])
    def of_any_batch(x):
        assert number([x] * 3) == 3
        return x

    of_any_batch(tf.ones([3, 2]))


def test_components_of_half_a_precision_come_back_as_they_were():
    state = {name: tf.constant([1.0, 2.0], tf.bfloat16) for name in "abc"}
    solver = solvers.get("bosh3")
    found = solver.solve(lambda t, z: {k: -v for k, v in z.items()}, 0.0, state, [1.0]).states
    for y in found.values():
        assert y.dtype == tf.bfloat16 and y.shape == (1, 2)
        np.testing.assert_allclose(tf.cast(y, tf.float32), np.exp(-1) * np.array([[1, 2]]), 1e-2)


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_components_of_one_shape_go_there_and_back(shape):
    """Also with leading axes, of sizes known and not, as those of all solution times."""
    like = [tf.zeros(shape, tf.float64)] * NUMBER
    join, split = flat.as_vector(like)
    rng = np.random.default_rng(0)
    components = [tf.constant(rng.normal(size=shape)) for _ in like]
    vector = join(components)
    np.testing.assert_array_equal(vector, np.concatenate([np.ravel(y) for y in components]))
    rows = tf.stack([vector, 2.0 * vector])
    unknown = tf.function(split, autograph=False).get_concrete_function(
        tf.TensorSpec([None, *vector.shape], tf.float64)
    )
    for found in (split(rows), unknown(rows)):
        for y, x in zip(found, components, strict=True):
            assert y.dtype == tf.float64
            np.testing.assert_array_equal(y, tf.stack([x, 2.0 * x]))
