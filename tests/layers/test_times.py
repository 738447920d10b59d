# SPDX-License-Identifier: Apache-2.0
"""The whole way of a layer: fixed times, times of a call, of each sample, learnt, and events."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import solvers
from homoode_tf.layers import AugmentedNeuralODE, FunctionDynamics, HomoODE, NeuralODE
from tests import slow
from tests.layers.vector_fields import DenseDynamics, LinearDynamics

modes = pytest.mark.parametrize("mode", solvers.GRADIENTS)
controls = pytest.mark.parametrize("step_control", solvers.STEP_CONTROLS)
TIGHT = {"rtol": 1e-8, "atol": 1e-8, "dtype": "float64"}
X = np.array([[0.5, -1.0], [1.5, 2.0]])


@keras.saving.register_keras_serializable(package="homoode_tf_tests")
class Growth(keras.layers.Layer):
    """z' = 2 t z, so z(t) = z0 exp(t^2 - t0^2)."""

    def call(self, t, z):
        return 2.0 * t * z


@pytest.mark.parametrize("times", [[0.5, 1.0], [0.2, -0.4], np.array([1.1])])
@controls
def test_fixed_times_and_times_of_a_call(times, step_control):
    options = {"initial_time": 0.3, "step_control": step_control, **TIGHT}
    exact = X[:, None] * np.exp(np.square(times) - 0.09)[:, None]
    fixed = NeuralODE(Growth(), times=times, **options)
    np.testing.assert_allclose(fixed(X), exact, rtol=1e-6)
    assert fixed.compute_output_shape((2, 2)) == exact.shape
    again = NeuralODE.from_config(fixed.get_config())
    np.testing.assert_array_equal(again(X), fixed(X))
    free = NeuralODE(Growth(), **options)
    np.testing.assert_allclose(free(X, times=times), exact, rtol=1e-6)
    assert free(X).shape == (2, 2) and free.final_time == 1.0


@modes
@controls
@pytest.mark.parametrize("times", [[0.5, 1.0], [0.2, -0.4]])
def test_gradients_of_the_whole_way(times, mode, step_control):
    """By x, by the times and by the rate, of an error at every time."""
    x, rate, times = tf.constant(X), keras.Variable(0.8, dtype="float64"), np.array(times)
    dynamics = FunctionDynamics(lambda t, z: rate * tf.cos(t) * z, [rate], dtype="float64")
    options = {"initial_time": 0.3, "step_control": step_control, "gradient": mode, **TIGHT}
    layer, asked = NeuralODE(dynamics, **options), tf.constant(times)
    layer.build((2, 2))
    sources = [x, asked, rate.value]
    with tf.GradientTape() as tape:
        tape.watch(sources[:2])
        loss = tf.reduce_sum(layer(x, times=asked) ** 2)
    with tf.GradientTape() as right:
        right.watch(sources[:2])
        growth = tf.exp(rate * (tf.sin(asked) - np.sin(0.3)))
        expected = tf.reduce_sum((x[:, None] * growth[:, None]) ** 2)
    found, exact = tape.gradient(loss, sources), right.gradient(expected, sources)
    for ours, theirs in zip(found, exact, strict=True):
        # Inner times are differentiated through the interpolation, which loses an order.
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@modes
@pytest.mark.parametrize("traced", [False, slow(True)])
def test_times_of_each_sample(mode, traced):
    """Values, and gradients by x, by all the times, and by the rate; some go backwards."""
    times = tf.constant([[0.4, 0.9, 0.7], [-0.5, 0.1, 1.3]], tf.float64)
    x, rate = tf.constant(X), keras.Variable(0.8, dtype="float64")
    dynamics = FunctionDynamics(lambda t, z: rate * tf.cos(t) * z, [rate], dtype="float64")
    layer = NeuralODE(dynamics, gradient=mode, step_control="sample", **TIGHT)
    call = tf.function(layer, autograph=False) if traced else layer
    layer.build((2, 2))
    # Not within two tapes, nor a persistent one: TensorFlow would trace second derivatives.
    with tf.GradientTape() as tape:
        tape.watch([x, times])
        loss = tf.reduce_sum(call(x, times=times) ** 2)
    with tf.GradientTape() as right:
        right.watch([x, times])
        exact = x[:, None] * tf.exp(rate * tf.sin(times))[..., None]
        expected = tf.reduce_sum(exact**2)
    sources = [x, times, rate.value]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    for ours, theirs in zip(
        tape.gradient(loss, sources), right.gradient(expected, sources), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_times_of_each_sample_keep_the_longest_step():
    layer = NeuralODE(Growth(), step_control="sample", max_step_size=0.1, **TIGHT | {"rtol": 1e-2})
    steps = layer.solve(X, times=[[1.0], [0.2]]).diagnostics.num_accepted_steps
    assert steps[0] >= 10 and steps[1] >= 2


@modes
@controls
def test_the_final_time_is_learnt(mode, step_control):
    """dz(T)/dT = F, also by `fit` and after saving."""
    layer = HomoODE(
        LinearDynamics(0.5, dtype="float64"),
        final_time=0.7,
        learn_final_time=True,
        initial_point="zeros",
        gradient=mode,
        step_control=step_control,
        **TIGHT,
    )
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(X))
    (weight,) = [w for w in layer.trainable_weights if w.name == "final_time"]
    slope = tape.gradient(loss, weight.value)
    np.testing.assert_allclose(slope, np.sum(X) * np.exp(0.5 * 0.7), rtol=1e-6)
    weight.assign(0.2)
    expected = X * np.expm1(0.5 * 0.2) / 0.5
    np.testing.assert_allclose(layer(X), expected, rtol=1e-6)
    assert HomoODE.from_config(layer.get_config()).learn_final_time


@pytest.mark.slow
def test_in_a_functional_model_saved_and_loaded(tmp_path):
    inputs, times = keras.Input((2,)), keras.Input((3,))
    few = {"solver": "heun_euler", "rtol": 1e-3, "atol": 1e-3}
    layer = AugmentedNeuralODE(DenseDynamics(3), 1, step_control="sample", **few)
    outputs = layer(inputs, times=times)
    assert outputs.shape == (None, 3, 3)
    fixed = NeuralODE(DenseDynamics(2), times=[0.5, 1.0], **few)(inputs)
    assert fixed.shape == (None, 2, 2)
    model = keras.Model([inputs, times], [outputs, fixed])
    data = [X.astype("float32"), np.array([[0.1, 0.5, 1.0], [0.3, 0.4, 2.0]], "float32")]
    model.compile("sgd", ["mse", "mse"])
    model.fit(data, [np.zeros((2, 3, 3)), np.zeros((2, 2, 2))], verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for ours, theirs in zip(
        again.predict(data, verbose=0), model.predict(data, verbose=0), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@modes
@controls
def test_a_layer_solves_to_an_event(step_control, mode):
    """x exp(r t^2) reaches 3 at t = sqrt(log(3 / x) / r): the time, and its gradients."""
    rate, x = keras.Variable(1.0, dtype="float64"), tf.constant([[1.0], [1.5]], tf.float64)
    dynamics = FunctionDynamics(lambda t, z: 2.0 * rate * t * z, [rate], dtype="float64")
    layer = NeuralODE(dynamics, step_control=step_control, gradient=mode, **TIGHT)
    layer.build((2, 1))
    by_sample = step_control == "sample"
    with tf.GradientTape() as tape:
        tape.watch(x)
        solution = layer.solve(
            x, times=[2.0], event_fn=lambda t, z: 3.0 - (z[:, 0] if by_sample else z[1, 0])
        )
        when = tf.reduce_sum(solution.times)
    with tf.GradientTape() as right:
        right.watch(x)
        exact = tf.sqrt(tf.math.log(3.0 / x[:, 0]) / rate)
        exact = exact if by_sample else exact[1:]
        expected = tf.reduce_sum(exact)
    np.testing.assert_allclose(tf.reshape(solution.times, [-1]), exact, rtol=1e-6)
    assert solution.states.shape == (2, 1, 1)
    np.testing.assert_allclose(solution.states[1, 0, 0], 3.0, rtol=1e-6)
    sources = [x, rate.value]
    for ours, theirs in zip(
        tape.gradient(when, sources), right.gradient(expected, sources), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "times", "message"),
    [
        ({"times": 0.5}, None, "times must be a list of numbers, got 0.5"),
        ({"times": [0.5, None]}, None, r"times\[1\] must be a number, got None"),
        (
            {"times": [0.5], "final_time": 2.0},
            None,
            "final_time=2.0 .* have no meaning beside times",
        ),
        ({"initial_time": 1.0}, None, "final_time must be a number above 1.0, got 1.0"),
        ({}, [[0.5], [1.0]], "need step_control='sample' and no stop_times"),
        ({"step_control": "sample"}, [[0.5]] * 3, r"times must be of shape \(times,\) or \(2, tim"),
        ({}, [[[0.5]]], r"times must be a list of numbers, or of shape \(batch, times\)"),
        ({"solver": "rk4", "num_steps": 2}, [0.5, 0.3], "must be finite and increase"),
    ],
)
def test_refuses_wrong_times(options, times, message):
    with pytest.raises(ValueError, match=message):
        NeuralODE(Growth(), **options)(X.astype("float32"), times=times)


def test_times_of_an_unknown_number_are_refused():
    layer = NeuralODE(DenseDynamics(2), step_control="sample")
    call = tf.function(lambda x, times: layer(x, times=times), autograph=False)
    with pytest.raises(
        ValueError, match="must be of a known number, got .*give their input a size"
    ):
        call.get_concrete_function(tf.TensorSpec([None, 2]), tf.TensorSpec([None, None]))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
@modes
@controls
def test_gradients_at_several_times_in_half_precision(policy, mode, step_control):
    """Whose last slope serves the states inside of a step alone, which are in float32."""
    gradients = []
    for dtype in ("float32", policy):
        layer = NeuralODE(
            keras.layers.Dense(2, "tanh", kernel_initializer="ones", dtype=dtype),
            times=[0.4, 1.0],
            gradient=mode,
            step_control=step_control,
            dtype=dtype,
        )
        x = tf.constant(X, layer.compute_dtype)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.cast(layer(x), tf.float32))
        gradients.append(tf.cast(tape.gradient(loss, x), tf.float32))
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=0.1, atol=0.05)


def test_times_that_keras_has_rounded_are_refused():
    layer = NeuralODE(DenseDynamics(2), dtype="mixed_bfloat16")
    with pytest.raises(ValueError, match="Keras cast them to bfloat16"):
        layer(X, times=tf.constant([0.1, 0.2]))
    assert layer(X, times=[0.1, 0.2]).shape == (2, 2, 2)


MAKERS = {
    "neural": lambda **options: NeuralODE(DenseDynamics(2), **options),
    "augmented": lambda **options: AugmentedNeuralODE(DenseDynamics(3), 1, **options),
    "homoode": lambda **options: HomoODE(DenseDynamics(2), **options),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_xla_says_what_to_set(make):
    def compiled(**settings):
        model = keras.Sequential([keras.Input((2,)), make(**settings)])
        model.compile("sgd", "mse", jit_compile=True)
        return model.jit_compile

    with pytest.warns(UserWarning, match="set max_num_steps to at most 1024"):
        assert not compiled()
    with pytest.warns(UserWarning, match="XLA cannot compile 'bdf': take an explicit solver"):
        assert not compiled(solver="bdf")
    assert compiled(max_num_steps=64) and compiled(gradient="adjoint")


def test_xla_says_so_in_a_function_too():
    layer, x = NeuralODE(DenseDynamics(2)), tf.ones([1, 2])
    layer(x)

    @tf.function(jit_compile=True, autograph=False)
    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x))
        return tape.gradient(loss, x)

    with pytest.raises(NotImplementedError, match="set max_num_steps to at most 1024"):
        gradient()


@pytest.mark.parametrize("solver", [tfp.math.ode.DormandPrince(), "bdf", "dopri5"])
@pytest.mark.parametrize("times", [[-0.5, -1.0], [0.5, 1.0]])
def test_time_runs_either_way_with_every_kind_of_solver(solver, times):
    layer = NeuralODE(FunctionDynamics(lambda t, z: -t * z), solver=solver, times=times)
    x = tf.ones([1, 2])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    expected = np.exp(-0.5 * np.square(times))
    np.testing.assert_allclose(y[0, :, 0], expected, rtol=1e-2)
    np.testing.assert_allclose(tape.gradient(y, x)[0], [expected.sum()] * 2, rtol=2e-2)


@pytest.mark.parametrize("options", [{"final_time": 1.7e9 + 60}, {"times": [1.7e9 + 60]}])
def test_times_that_the_state_cannot_tell_apart_are_refused(options):
    layer = NeuralODE(FunctionDynamics(lambda z: -z), initial_time=1.7e9, **options)
    with pytest.raises(ValueError, match="float32 cannot tell the times apart"):
        layer(tf.ones([1, 2]))
