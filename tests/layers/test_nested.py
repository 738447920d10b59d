# SPDX-License-Identifier: Apache-2.0
"""States and conditions of several tensors: lists, tuples, dictionaries."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import solvers
from homoode_tf.layers import (
    DEQ,
    AugmentedNeuralODE,
    DenseDynamics,
    FunctionDynamics,
    HomoODE,
    NeuralODE,
)
from homoode_tf.solvers import fixed_point
from tests import slow

registered = keras.saving.register_keras_serializable(package="homoode_tf_tests")
TIGHT = {"rtol": 1e-8, "atol": 1e-8, "dtype": "float64"}
Z = np.array([[0.5, -1.0], [1.5, 2.0], [0.1, 0.3]])
LOG = np.array([0.3, -0.2, 1.0])
MODES = [(g, s) for g in solvers.GRADIENTS for s in solvers.STEP_CONTROLS]
KINDS = {
    "list": lambda a, b: [a, b],
    "tuple": lambda a, b: (a, b),
    "dict": lambda a, b: {"position": a, "zlog": b},
    "nested": lambda a, b: {"position": [a], "zlog": (b,)},
}


@registered
class Flow(keras.layers.Layer):
    """z' = r t z and the log-density of that flow, l' = -2 r t."""

    def build(self, t_shape, z_shape):
        half = keras.initializers.Constant(0.8)
        self.rate = self.add_weight(shape=(), initializer=half, name="rate")

    def call(self, t, z):
        position, log = tf.nest.flatten(z)
        rate = self.rate * t
        slopes = [rate * position, -2.0 * tf.reshape(rate, [-1]) + tf.zeros_like(log)]
        return tf.nest.pack_sequence_as(z, slopes)


def exact(rate, time, z=Z, log=LOG):
    growth = rate * time**2 / 2.0
    return z * tf.exp(growth), log - 2.0 * growth


@pytest.mark.parametrize("kind", KINDS)
def test_the_structure_comes_back(kind, tmp_path):
    inputs = KINDS[kind](keras.Input((2,)), keras.Input(()))
    outputs = NeuralODE(Flow(), step_control="sample")(inputs)
    times = NeuralODE(Flow(), times=[0.5, 1.0])(inputs)
    keras.tree.assert_same_structure(inputs, outputs)
    assert [y.shape for y in tf.nest.flatten([outputs, times])] == [
        *[(None, 2), (None,)],
        *[(None, 2, 2), (None, 2)],
    ]
    model = keras.Model(inputs, [outputs, times])
    model.compile("sgd", "mse")
    data = KINDS[kind](*[x.astype("float32") for x in (Z, LOG)])
    found = model.predict(data, verbose=0)
    for y, right in zip(tf.nest.flatten(found[0]), exact(0.8, 1.0), strict=True):
        np.testing.assert_allclose(y, right, rtol=1e-2)
    for y, right in zip(tf.nest.flatten(found[1]), exact(0.8, 0.5), strict=True):
        np.testing.assert_allclose(y[:, 0], right, rtol=1e-2)
    if kind != "nested":  # which holds the others
        return
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").predict(data, verbose=0)
    for y, right in zip(tf.nest.flatten(again), tf.nest.flatten(found), strict=True):
        np.testing.assert_array_equal(y, right)


@pytest.mark.parametrize(("gradient", "step_control"), MODES)
def test_values_and_gradients(gradient, step_control):
    """Of z(T) and the log-density, by both starts and the rate."""
    layer = NeuralODE(
        Flow(dtype="float64"), gradient=gradient, step_control=step_control, final_time=1.5, **TIGHT
    )
    state = {"position": tf.constant(Z), "zlog": tf.constant(LOG)}
    layer.build({"position": (3, 2), "zlog": (3,)})
    rate = layer.dynamics.rate.value
    sources = [state["position"], state["zlog"], rate]
    with tf.GradientTape() as tape:
        tape.watch(sources[:2])
        ends = layer(state)
        loss = tf.reduce_sum(ends["position"] ** 2) + tf.reduce_sum(ends["zlog"] ** 3)
    with tf.GradientTape() as exactly:
        exactly.watch(sources[:2])
        position, log = exact(rate, 1.5, *sources[:2])
        right = tf.reduce_sum(position**2) + tf.reduce_sum(log**3)
    np.testing.assert_allclose(ends["zlog"], log, rtol=1e-6)
    for ours, theirs in zip(
        tape.gradient(loss, sources), exactly.gradient(right, sources), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("step_control", solvers.STEP_CONTROLS)
def test_solve_times_events_and_training(step_control):
    layer = NeuralODE(Flow(dtype="float64"), step_control=step_control, **TIGHT)
    state, by_sample = [Z, LOG], step_control == "sample"
    times = [[0.4, 0.9], [0.1, 0.2], [1.0, 0.5]] if by_sample else [0.4, 0.9]
    solution = layer.solve(state, times=times)
    position, log = solution.states
    right = exact(0.8, np.array(times)[:, :1] if by_sample else 0.4, Z, LOG[:, None])
    np.testing.assert_allclose(position[:, 0], right[0], rtol=1e-6)
    np.testing.assert_allclose(log[:, :1], right[1], rtol=1e-6)
    assert solution.final_state[1].shape == (3,)
    # The log-density of the second sample falls to -0.52 where t^2 = 0.4.
    event = lambda t, z: z[1] + 0.52 if by_sample else z[1][1] + 0.52  # noqa: E731
    landed = layer.solve(state, times=[2.0], event_fn=event)
    when = np.ravel(landed.times)[1 if by_sample else 0]
    np.testing.assert_allclose(when, np.sqrt(0.4), rtol=1e-6)


def test_solvers_of_tfp_take_nests():
    for solver in (
        solvers.get("bdf", rtol=1e-6, atol=1e-9),
        tfp.math.ode.DormandPrince(1e-6, 1e-9),
    ):
        layer = NeuralODE(Flow(dtype="float64"), solver, dtype="float64")
        for y, right in zip(layer((Z, LOG)), exact(0.8, 1.0), strict=True):
            np.testing.assert_allclose(y, right, rtol=1e-4)


def test_energies_are_the_sums_of_the_components():
    """Of z' = -z beside l' = 2: the integral of their mean squares, and Jacobians of size 1."""
    decay = FunctionDynamics(lambda z: [-z[0], 2.0 + 0.0 * z[1]], dtype="float64")
    kinetic = NeuralODE(decay, kinetic_weight=0.5, **TIGHT)
    energy = kinetic.solve([Z, LOG], training=True).energy
    right = np.mean(Z**2, 1) * (1.0 - np.exp(-2.0)) / 2.0 + 4.0
    np.testing.assert_allclose(energy, 0.5 * right, rtol=1e-6)
    both = NeuralODE(decay, jacobian_weight=1.0, **TIGHT).solve([Z, LOG], training=True)
    assert both.energy.shape == (3,) and np.all(both.energy > 0.0)


def test_a_functional_model_takes_a_nest():
    """As the state itself, a dictionary, and as one of the arguments."""
    a, b, t = keras.Input((2,), name="a"), keras.Input((3,), name="b"), keras.Input((), name="t")
    x = keras.Input((3,), name="x")
    slopes = [keras.layers.Dense(2)(b), keras.layers.Dense(3)(a)]
    state = (tf.ones([4, 2]), tf.ones([4, 3]))
    by_name = keras.Model({"a": a, "b": b}, {"a": slopes[0], "b": slopes[1]})
    found = NeuralODE(by_name)(dict(zip("ab", state, strict=True)))
    timed = keras.layers.Lambda(lambda a: a[0] + 0.0 * a[1][:, None])([slopes[0], t])
    listed = keras.Model([t, [a, b]], [timed, slopes[1]])
    for step_control in solvers.STEP_CONTROLS:
        other = NeuralODE(listed, step_control=step_control)(list(state))
        np.testing.assert_allclose(other[0], found["a"], rtol=1e-2)
    joined = keras.layers.Add()([slopes[1], x])
    start = keras.layers.Lambda(lambda x: [x[:, :2], x])
    conditioned = keras.Model([[a, b], x], [slopes[0], joined])
    ends = HomoODE(conditioned, initial_point=start)(tf.ones([4, 3]))
    assert [y.shape[1] for y in ends] == [2, 3]


@registered
class Scales(keras.layers.Layer):
    """Two maps of different sizes that see each other: an affine map, which contracts."""

    def build(self, z_shape, x_shape):
        self.weight = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(0.3), name="weight"
        )

    def call(self, z, x):
        fine, coarse = z
        mean = tf.reduce_mean(fine, [1, 2])[:, None, None]
        return [self.weight * fine + 0.2 * coarse + x[0], 0.4 * mean - 0.1 * coarse + x[1]]


def scales_fixed_point(weight, x):
    """Its mean over the fine map, and the coarse one, solve two equations; then the fine map."""
    mean = tf.reduce_mean(x[0], [1, 2])
    # mean = w mean + 0.2 c + m,  c = 0.4 mean - 0.1 c + x1
    coarse = (0.4 * mean / (1.0 - weight) + x[1][:, 0, 0]) / (1.1 - 0.08 / (1.0 - weight))
    coarse = coarse[:, None, None]
    return [(0.2 * coarse + x[0]) / (1.0 - weight), coarse]


@pytest.mark.parametrize("mode", fixed_point.MODES)
@pytest.mark.parametrize("point", ["zeros", "learned", "input"])
def test_a_multiscale_deq(mode, point):
    random = np.random.default_rng(0)
    x = [tf.constant(random.normal(size=(3, n, n, 2))) for n in (4, 1)]
    layer = DEQ(
        Scales(dtype="float64"),
        rtol=1e-10,
        atol=1e-10,
        max_num_iterations=100,
        gradient=mode,
        initial_point=point,
        dtype="float64",
    )
    layer.build([tuple(y.shape) for y in x])
    weight = layer.dynamics.weight.value
    gradients = []
    for fn in (layer, lambda x: scales_fixed_point(weight, x)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            found = fn(x)
            loss = tf.reduce_sum(found[0] ** 2) + tf.reduce_sum(found[1])
        gradients.append([*found, *tape.gradient(loss, [*x, weight])])
    ours, right = gradients
    values = 2 if mode != "implicit" else 5
    for mine, theirs in zip(ours[:values], right, strict=False):
        np.testing.assert_allclose(mine, theirs, atol=1e-7)
    # The others are estimates, of the same structure and direction.
    for mine, theirs in zip(ours[2:], right[2:], strict=True):
        assert mine.shape == theirs.shape and np.sum(mine * theirs) > 0.0
    layer(x, training=True)
    assert len(layer.losses) == (point == "learned")


@pytest.mark.parametrize("kind", [slow(HomoODE), DEQ])
def test_several_conditions_trained_saved_and_exported(kind, tmp_path):
    """Points by name: one for each tensor, each in its place again in a file."""
    inputs = [keras.Input((4, 4, 2)), keras.Input((1, 1, 2))]
    solver = "anderson" if kind is DEQ else "heun_euler"
    layer = kind(Scales(), solver, initial_point="running_mean")
    model = keras.Model(inputs, layer(inputs))
    model.compile("sgd", ["mse", "mse"])
    data = [np.random.default_rng(n).normal(size=(6, n, n, 2)).astype("float32") for n in (4, 1)]
    model.fit(data, [y * 0.5 for y in data], verbose=0)
    starts = layer.initial_state([tf.constant(x) for x in data])
    for y, point in zip(starts, layer.initial_point.points, strict=True):
        assert np.any(point.value)
        np.testing.assert_allclose(y, np.broadcast_to(point.value, y.shape), rtol=1e-6)
    expected = model.predict(data, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for y, right in zip(again.predict(data, verbose=0), expected, strict=True):
        np.testing.assert_array_equal(y, right)
    model.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported")
    for y, right in zip(served.serve(data), expected, strict=True):
        np.testing.assert_allclose(y, right, atol=2e-3)


@pytest.mark.parametrize(("gradient", "step_control"), MODES)
def test_conditions_of_another_structure_than_the_state(gradient, step_control):
    """z' = -a z + b with z(0) = s b: gradients by both conditions against finite differences."""
    dynamics = FunctionDynamics(lambda z, x: -x["a"] * z + tf.sin(x["b"]), dtype="float64")
    start = keras.layers.Lambda(lambda x: 0.5 * x["b"], dtype="float64")
    layer = HomoODE(
        dynamics, initial_point=start, gradient=gradient, step_control=step_control, **TIGHT
    )
    a, b = tf.constant([[0.5], [1.5], [-0.3]], tf.float64), tf.constant(Z)

    def loss(a, b):
        return tf.reduce_sum(layer({"a": a, "b": b}) ** 2)

    with tf.GradientTape() as tape:
        tape.watch([a, b])
        value = loss(a, b)
    found = tape.gradient(value, [a, b])
    step = np.zeros((3, 2))
    step[1, 0] = 1e-5
    slopes = [
        (loss(a + step[:, :1], b) - loss(a - step[:, :1], b)) / 2e-5,
        (loss(a, b + step) - loss(a, b - step)) / 2e-5,
    ]
    np.testing.assert_allclose([g[1, 0] for g in found], slopes, rtol=1e-5)


def flow(inputs, dynamics=None):
    return NeuralODE(dynamics or Flow())(inputs)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: flow([tf.ones([3, 2]), tf.ones([2])]),
            r"must have one batch size: inputs\[0\] has 3, inputs\[1\] has 2",
        ),
        (
            lambda: flow({"a": tf.ones([3, 2]), "b": tf.ones([3], tf.int32)}),
            r"must be floating, but inputs\['b'\] is int32: cast it",
        ),
        (
            lambda: flow([tf.ones([3, 2]), tf.constant(1.0)]),
            r"inputs\[1\] must have a batch dimension",
        ),
        (
            lambda: flow([tf.ones([3, 2])] * 2, FunctionDynamics(lambda z: z[0])),
            r"the state's structure and shapes, \[\(3, 2\), \(3, 2\)\], but .* returned \(3, 2\)",
        ),
        (
            lambda: flow([tf.ones([3, 2]), tf.ones([3])], FunctionDynamics(lambda z: z[::-1])),
            r"but 'function_dynamics.*' returned \[\(3,\), \(3, 2\)\]",
        ),
        (
            lambda: flow({"a": tf.ones([3, 2])}, FunctionDynamics(lambda z: {"b": z["a"]})),
            r"shapes, {'a': \(3, 2\)}, but .* returned {'b': \(3, 2\)}",
        ),
        (
            lambda: AugmentedNeuralODE(Flow(), 1)([tf.ones([3, 2]), tf.ones([3])]),
            "AugmentedNeuralODE takes one tensor, got a nest",
        ),
        (
            lambda: HomoODE(Scales(), state_channels=3)([tf.ones([2, 2, 2, 2])] * 2),
            "state_channels has no meaning where the condition is a nest",
        ),
        (
            lambda: HomoODE(
                DenseDynamics(3), state_channels=4, initial_point=keras.layers.Dense(3)
            )(tf.ones([2, 3])),
            "state_channels=4, but the initial point .* returns",
        ),
    ],
)
def test_what_does_not_fit_gets_one_line(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_a_layer_keeps_the_ranks_and_channels_that_it_was_built_with():
    layer = NeuralODE(Flow())
    layer([tf.ones([3, 2]), tf.ones([3])])
    assert layer([tf.ones([5, 2]), tf.ones([5])])[1].shape == (5,)
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 2"):
        layer([tf.ones([3, 4]), tf.ones([3])])
