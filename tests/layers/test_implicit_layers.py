# SPDX-License-Identifier: Apache-2.0
"""What users expect of every implicit layer: one set of tests for the whole family."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.layers import (
    DEQ,
    AugmentedNeuralODE,
    ConvDynamics,
    HomoODE,
    NeuralODE,
    TimedConvDynamics,
)
from tests.layers.vector_fields import DenseDynamics, LinearDynamics

EXTRA = 2
ODE_GRADIENTS = ("adjoint", "checkpoint", "backprop")
LAYERS = {
    "HomoODE": (HomoODE, {}, ODE_GRADIENTS),
    "NeuralODE": (NeuralODE, {}, ODE_GRADIENTS),
    "AugmentedNeuralODE": (AugmentedNeuralODE, {"extra_channels": EXTRA}, ODE_GRADIENTS),
    "DEQ": (DEQ, {"on_failure": "return"}, ("implicit", "phantom", "jacobian_free")),
}
GRADIENTS = [(name, mode) for name, (_, _, modes) in LAYERS.items() for mode in modes]
EXACT = [(name, mode) for name, mode in GRADIENTS if mode not in ("phantom", "jacobian_free")]
every_layer = pytest.mark.parametrize("name", LAYERS)


def random(*shape, dtype="float32", seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)


def channels(name):
    """Channels of the state for inputs of four."""
    return 4 + LAYERS[name][1].get("extra_channels", 0)


def make(name, dynamics=None, **options):
    """The layer; on dense dynamics, or on what `dynamics` makes of a number of channels."""
    layer, own, _ = LAYERS[name]
    return layer((dynamics or DenseDynamics)(channels(name)), **own, **options)


def make_quick(name, dynamics=None, **options):
    """The layer with a solver of few stages, whose backward pass is traced in half the time."""
    return make(name, dynamics, **({} if name == "DEQ" else {"solver": "heun_euler"}), **options)


def conv(dropout_rate=0.0, cls=ConvDynamics, **options):
    return lambda filters: cls(filters, groups=2, dropout_rate=dropout_rate, **options)


class TestForward:
    @every_layer
    def test_any_batch_and_image_size(self, name):
        layer = make(name, conv())
        for shape in ((1, 4, 4), (3, 4, 4), (2, 6, 5)):
            assert layer(random(*shape, 4)).shape == (*shape, channels(name))

    @every_layer
    @pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
    def test_an_empty_batch_gives_an_empty_answer(self, name, graph):
        # The layers of ODEs, whose solve is one, share its step controls out.
        by_sample = {} if name in ("HomoODE", "DEQ") else {"step_control": "sample"}
        layer = make_quick(name, conv(dropout_rate=0.5), **by_sample)
        call = tf.function(layer, reduce_retracing=True) if graph else layer
        for training in (False, True):
            shape = call(random(0, 4, 4, 4), training=training).shape
            assert shape == (0, 4, 4, channels(name))
        # It has left nothing that spoils what follows.
        assert np.isfinite(call(random(2, 4, 4, 4), training=True)).all()

    @every_layer
    def test_does_not_depend_on_keras_s_image_data_format(self, name):
        x, outputs = random(2, 4, 6, 4), []
        for data_format in ("channels_last", "channels_first"):
            keras.config.set_image_data_format(data_format)
            try:
                keras.utils.set_random_seed(0)
                outputs.append(make(name, conv())(x))
            finally:
                keras.config.set_image_data_format("channels_last")
        np.testing.assert_array_equal(*outputs)

    @every_layer
    def test_symbolic_eager_and_graph_calls_agree(self, name):
        layer = make(name, conv(dropout_rate=0.5))
        x = random(2, 4, 4, 4)
        symbolic = layer(keras.Input((None, None, 4)))
        assert symbolic.shape == (None, None, None, channels(name))
        assert layer.compute_output_shape((2, 4, 4, 4)) == (2, 4, 4, channels(name))
        np.testing.assert_allclose(tf.function(layer)(x), layer(x), rtol=1e-3, atol=1e-3)

    @every_layer
    def test_counts_its_evaluations(self, name):
        calls = []

        class Counting(DenseDynamics):
            def call(self, z, x=None):
                calls.append(0)
                return super().call(z, x)

        layer = make(name, Counting)
        layer.build((2, 4))
        calls.clear()
        layer(random(2, 4))
        assert int(layer.forward_nfe) == len(calls) > 0

    @pytest.mark.parametrize("name", ["HomoODE", "NeuralODE", "AugmentedNeuralODE"])
    @pytest.mark.parametrize("step_control", ["batch", "sample"])
    def test_time_dependent_dynamics(self, name, step_control):
        """With a kernel that sees only the time, F changes along the way."""
        layer = make(name, conv(cls=TimedConvDynamics), step_control=step_control)
        x = random(3, 4, 4, 4)
        z = layer(x)
        assert z.shape == (3, 4, 4, channels(name)) and np.isfinite(z).all()
        kernel = layer.dynamics.conv1.kernel
        before = kernel.numpy()
        before[:, :, -1] += 1.0
        kernel.assign(before)
        assert np.abs(layer(x) - z).max() > 1e-3


class TestGradients:
    @pytest.mark.parametrize(("name", "gradient"), EXACT)
    def test_agree_with_finite_differences(self, name, gradient):
        options = {"max_num_iterations": 400} if name == "DEQ" else {}
        layer = make(
            name,
            lambda units: DenseDynamics(units, dtype="float64"),
            rtol=1e-10,
            atol=1e-10,
            gradient=gradient,
            dtype="float64",
            **options,
        )
        x = tf.Variable(random(2, 4, dtype="float64"))
        weights = random(2, channels(name), dtype="float64", seed=1)

        @tf.function
        def loss():
            return tf.reduce_sum(weights * layer(x))

        @tf.function
        def gradients():
            with tf.GradientTape() as tape:
                value = loss()
            return tape.gradient(value, [x, *layer.dynamics.trainable_variables])

        layer(x)
        variables = [x, *layer.dynamics.trainable_variables]
        for variable, gradient_value in zip(variables, gradients(), strict=True):
            start = variable.numpy().copy()
            rng = np.random.default_rng(0)
            for _ in range(3):
                direction = rng.normal(size=start.shape)
                variable.assign(start + 1e-5 * direction)
                above = loss()
                variable.assign(start - 1e-5 * direction)
                expected = (above - loss()) / 2e-5
                variable.assign(start)
                found = np.sum(direction * gradient_value)
                assert found == pytest.approx(float(expected), rel=1e-6, abs=1e-8)

    @pytest.mark.parametrize(("name", "gradient"), GRADIENTS)
    def test_backward_pass_is_counted(self, name, gradient):
        layer = make(name, gradient=gradient)
        x = random(2, 4)
        with tf.GradientTape() as tape:
            tape.watch(x)
            z = layer(x)
        assert int(layer.backward_nfe) == 0
        assert tape.gradient(z, x) is not None
        assert int(layer.backward_nfe) > 0


class TestAsKerasLayer:
    def test_fits_in_a_subclassed_model(self):
        class Subclassed(keras.Model):
            def __init__(self):
                super().__init__()
                self.implicit, self.out = make_quick("HomoODE"), keras.layers.Dense(1)

            def call(self, inputs, training=False):
                return self.out(self.implicit(inputs, training=training))

        x, model = random(8, 4), Subclassed()
        model.compile("adam", "mse")
        history = model.fit(x, random(8, 1), batch_size=4, epochs=2, verbose=0).history["loss"]
        assert np.isfinite(history).all()
        assert model.predict(x, verbose=0).shape == (8, 1)

    @pytest.mark.parametrize("name", ["HomoODE", "DEQ"])
    @pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
    def test_fits_with_all_losses_that_it_adds(self, name, policy):
        own = {"jacobian_weight": 0.1} if name == "DEQ" else {}
        layer = make_quick(name, initial_point="learned", dtype=policy, **own)
        model = keras.Sequential([layer, keras.layers.Dense(1)])
        model.compile("adam", "mse")
        history = model.fit(random(8, 4), random(8, 1), batch_size=4, verbose=0).history["loss"]
        assert np.isfinite(history).all()
        assert len(layer.losses) == 1 + len(own)

    @pytest.mark.parametrize(("name", "gradient"), GRADIENTS)
    def test_fit_lowers_the_loss(self, name, gradient):
        """In a sequential model, or a functional one."""
        x, parts = random(64, 4), [make_quick(name, gradient=gradient), keras.layers.Dense(4)]
        model = keras.Sequential(parts)
        if gradient == LAYERS[name][-1][0]:
            inputs = keras.Input((4,))
            model = keras.Model(inputs, parts[1](parts[0](inputs)))
        model.compile(keras.optimizers.Adam(0.03), "mse")
        losses = model.fit(x, np.abs(x), epochs=8, verbose=0).history["loss"]
        assert losses[-1] < 0.7 * losses[0]

    @every_layer
    def test_saved_model_file_round_trip(self, name, tmp_path):
        layer = make(name, conv())
        model = keras.Sequential([keras.Input((None, None, 4)), layer])
        x = random(2, 4, 4, 4)
        expected = model(x)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded(x), expected)
        # As JSON, which has no tuples: that is what the file holds.
        assert json.dumps(loaded.layers[0].get_config()) == json.dumps(layer.get_config())

    @every_layer
    def test_seeds_reproduce(self, name):
        x = random(2, 4, 4, 4)

        def run(seed):
            keras.utils.set_random_seed(seed)
            return make(name, conv(dropout_rate=0.5))(x, training=True).numpy()

        np.testing.assert_array_equal(run(1), run(1))
        assert np.abs(run(1) - run(2)).max() > 1e-3

    @pytest.mark.parametrize(
        ("name", "gradient", "policy"),
        [
            (name, gradient, policy)
            for number, (name, gradient) in enumerate(GRADIENTS)
            for other, policy in enumerate(("mixed_bfloat16", "mixed_float16", "float64"))
            # All with fixed points; the layers of ODEs, whose solve is one, share them out.
            if name == "DEQ" or (number + number // 3) % 3 == other
        ],
    )
    def test_dtype_policies(self, name, gradient, policy):
        x = random(2, 4)
        layer = make(
            name, lambda units: DenseDynamics(units, dtype=policy), gradient=gradient, dtype=policy
        )
        full = make(name)
        layer.build(x.shape)
        full.build(x.shape)
        full.set_weights(layer.get_weights())
        with tf.GradientTape() as tape:
            z = layer(x, training=True)
        assert z.dtype.name == layer.compute_dtype
        np.testing.assert_allclose(tf.cast(z, tf.float32), full(x), atol=0.1)
        variables = layer.dynamics.trainable_variables
        for gradient_value, variable in zip(
            tape.gradient(z, [v.value for v in variables]), variables, strict=True
        ):
            assert gradient_value.dtype == variable.dtype
            assert np.isfinite(gradient_value.numpy()).all()

    @every_layer
    def test_compiles_with_xla(self, name):
        layer = make_quick(name)
        x = random(2, 4)
        compiled = tf.function(layer, jit_compile=True)(x)
        np.testing.assert_allclose(compiled, layer(x), rtol=1e-3, atol=1e-3)

    @every_layer
    def test_in_replicas(self, name):
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        with strategy.scope():
            layer = make(name)
            layer.build((2, 4))
        x = random(2, 4)
        run = tf.function(lambda: strategy.run(layer, args=(x,), kwargs={"training": True}))
        outputs = run()
        for output in strategy.experimental_local_results(outputs):
            np.testing.assert_allclose(output, layer(x), rtol=1e-3, atol=1e-3)


class TestErrors:
    @every_layer
    def test_dynamics_that_is_no_dynamics(self, name):
        with pytest.raises(ValueError, match="must be a Keras layer"):
            make(name, lambda _: lambda z, x: z)

    @pytest.mark.parametrize("name", ["HomoODE", "DEQ"])
    def test_dynamics_without_a_condition(self, name):
        with pytest.raises(ValueError, match=r"call\(self, z, x\)"):
            make(name, keras.layers.Dense)

    @pytest.mark.parametrize("name", ["NeuralODE", "AugmentedNeuralODE"])
    def test_dynamics_that_needs_a_condition(self, name):
        assert make(name, keras.layers.Dense)(random(2, 4)).shape == (2, channels(name))
        with pytest.raises(ValueError, match=r"call\(self, z\)"):
            make(name, lambda _: LinearDynamics())

    @every_layer
    def test_dynamics_of_another_shape(self, name):
        with pytest.raises(ValueError, match="state's shape"):
            make(name, lambda units: DynamicsOfAnotherShape(units))(random(2, 4))

    @every_layer
    def test_inputs_of_wrong_rank_or_channels(self, name):
        with pytest.raises(ValueError, match="expects z of shape"):
            make(name, conv())(random(2, 4, 4, 6))
        with pytest.raises(ValueError, match="expects z of shape"):
            make(name, conv())(random(2, 4))
        built = make(name)
        built(random(2, 4))
        with pytest.raises(ValueError, match=r"expected axis -1 .* to have value 4"):
            built(random(2, 6))
        with pytest.raises(ValueError, match="expected ndim=2"):
            built(random(2, 3, 4))

    @every_layer
    @pytest.mark.parametrize("argument", ["rtol", "atol"])
    @pytest.mark.parametrize("value", [0, -1.0, float("nan")])
    def test_tolerances_must_be_positive(self, name, argument, value):
        with pytest.raises(ValueError, match=f"{argument} must be (positive|a number above 0)"):
            make(name, **{argument: value})

    @every_layer
    def test_unknown_names(self, name):
        with pytest.raises(ValueError, match="must be one of"):
            make(name, solver="dopri")
        with pytest.raises(ValueError, match="gradient must be one of"):
            make(name, gradient="adjoin")

    def test_of_single_layers(self):
        with pytest.raises(ValueError, match="extra_channels must be an integer at least 0"):
            AugmentedNeuralODE(DenseDynamics(4), extra_channels=-1)
        with pytest.raises(ValueError, match="A fixed point has no time"):
            DEQ(TimedConvDynamics(4, groups=2))
        with pytest.raises(ValueError, match="jacobian_weight must be a number at least 0"):
            DEQ(DenseDynamics(4), jacobian_weight=-1.0)


class DynamicsOfAnotherShape(DenseDynamics):
    def call(self, z, x=None):
        return z[:, :1]
