# SPDX-License-Identifier: Apache-2.0
import json
import math

import keras
import numpy as np
import pytest
import scipy.integrate
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import solvers
from homoode_tf.layers import ConvDynamics, HomoODE, initial_point
from homoode_tf.solvers import SolverError
from tests.layers.vector_fields import (
    DecayingDynamics,
    DenseDynamics,
    LinearDynamics,
    ScaledCondition,
    TimedDynamics,
)

GRADIENTS = ("adjoint", "checkpoint", "backprop")


def random(*shape, dtype="float32", seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)


def conv_layer(**kwargs):
    dynamics = ConvDynamics(4, groups=2, dropout_rate=kwargs.pop("dropout_rate", 0.0))
    return HomoODE(dynamics, **kwargs)


class TestForward:
    def test_agrees_with_scipy(self):
        layer = HomoODE(
            DenseDynamics(3, dtype="float64"),
            rtol=1e-9,
            atol=1e-9,
            final_time=2.0,
            initial_point="alternating",
            dtype="float64",
        )
        x = random(2, 3, dtype="float64")
        z = layer(x).numpy()
        kernel, bias = (weight.numpy() for weight in layer.dynamics.dense.weights)

        def flat_dynamics(_, flat):
            state = flat.reshape(2, 3)
            return (np.tanh(state @ kernel + bias + x.numpy()) - state).ravel()

        start = np.tile([-1.0, 1.0, -1.0], 2)
        expected = scipy.integrate.solve_ivp(
            flat_dynamics, (0, 2), start, method="DOP853", rtol=1e-12, atol=1e-12
        ).y[:, -1]
        np.testing.assert_allclose(z.ravel(), expected, atol=1e-8)

    @pytest.mark.parametrize(
        "solver",
        ["dopri5", tfp.math.ode.DormandPrince(rtol=1e-6, atol=1e-6), tfp.math.ode.BDF(1e-6, 1e-6)],
        ids=["dopri5", "tfp_dopri", "tfp_bdf"],
    )
    def test_time_dependent_dynamics(self, solver):
        x = random(2, 4)
        layer = HomoODE(TimedDynamics(), solver, final_time=2.0, initial_point="zeros")
        np.testing.assert_allclose(layer(x), 2.0 * x, rtol=1e-3)

    def test_remembers_its_first_step_while_training(self):
        """The second batch pays neither for choosing the first step nor for a rejected one."""
        layer = conv_layer(rtol=1e-5, atol=1e-5)
        x = random(2, 4, 4, 4)
        layer(x)
        assert float(layer.step_size) == 0
        cold = layer(x, training=True)
        cold_nfe = int(layer.forward_nfe)
        assert float(layer.step_size) > 0
        warm = layer(x, training=True)
        assert int(layer.forward_nfe) < cold_nfe
        np.testing.assert_allclose(warm, cold, atol=3e-3)  # other steps, over kinks


class TestStepControl:
    def outputs(self, step_control):
        """The first sample alone, among 64 like it, and beside 63 that are stiff."""
        layer = HomoODE(DecayingDynamics(), step_control=step_control, initial_point="alternating")
        x = random(64, 4)
        stiff = tf.concat([x[:1], 40.0 + x[1:]], 0)
        return [layer(batch)[0] for batch in (x[:1], x, stiff)]

    def test_by_sample_makes_the_output_independent_of_batch_mates(self):
        alone, *others = self.outputs("sample")
        for output in others:
            np.testing.assert_allclose(output, alone, rtol=0, atol=1e-6)

    def test_by_batch_does_not(self):
        alone, *others = self.outputs("batch")
        for output in others:
            assert np.abs(output - alone).max() > 1e-5

    @pytest.mark.parametrize(
        "solver", ["dopri5", solvers.get("tsit5"), solvers.get("rk4", num_steps=4)]
    )
    def test_another_solver_for_one_solve(self, solver):
        layer = HomoODE(DecayingDynamics(), solver, initial_point="alternating")
        x = random(3, 4)
        before = layer(x).numpy()
        other = layer.serving_solver("sample")
        assert other.settings.step_control == ("sample" if layer.solver.adaptive else "batch")
        solution = layer.solve(x, solver=other)
        np.testing.assert_allclose(solution.final_state, before, atol=1e-3)
        np.testing.assert_array_equal(layer(x), before)

    def test_trains(self):
        model = keras.Sequential([HomoODE(DenseDynamics(4), step_control="sample")])
        model.compile("adam", "mse")
        x = random(8, 4)
        losses = model.fit(x, 0.5 * x, epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]

    def test_errors(self):
        with pytest.raises(ValueError, match="step_control must be one of batch, sample"):
            HomoODE(LinearDynamics(), step_control="image")
        layer = HomoODE(LinearDynamics(), tfp.math.ode.DormandPrince())
        with pytest.raises(ValueError, match="must be 'batch' with DormandPrince"):
            layer.serving_solver("sample")


class TestGradients:
    @pytest.mark.parametrize("gradient", GRADIENTS)
    def test_exponential_growth(self, gradient):
        """For z' = a z, dz(1)/dz(0) = e^a; the paper's own adjoint gives 1."""
        a = 0.75  # exact in float32, through which Keras's initializers go
        layer = HomoODE(
            LinearDynamics(a, dtype="float64"),
            rtol=1e-10,
            atol=1e-10,
            gradient=gradient,
            initial_point=ScaledCondition(dtype="float64"),
            dtype="float64",
        )
        x = tf.constant([[1.0]], tf.float64)
        with tf.GradientTape() as tape:
            z = layer(x)
        by_start = tape.gradient(z, layer.initial_point.scale.value)
        assert abs(float(by_start) - math.exp(a)) < 1e-8

    def test_the_task_does_not_move_a_learned_initial_point(self):
        layer = HomoODE(DenseDynamics(3), initial_point="learned")
        x = random(2, 3)
        with tf.GradientTape(persistent=True) as tape:
            task_loss = tf.reduce_sum(layer(x, training=True) ** 2)
            own_loss = tf.add_n(layer.losses)
        value = layer.initial_point.value.value
        assert tape.gradient(task_loss, value) is None
        assert tape.gradient(own_loss, value) is not None
        assert tape.gradient(own_loss, [v.value for v in layer.dynamics.weights]) == [None] * 2


class TestAsKerasLayer:
    def test_fit_lowers_the_task_loss_and_moves_the_initial_point(self):
        x = random(64, 4)
        model = keras.Sequential([HomoODE(DenseDynamics(4), gradient="backprop")])
        model.compile(keras.optimizers.Adam(0.05), "mse")
        model.build((None, 4))
        start = model.layers[0].initial_point.value.numpy()
        losses = model.fit(x, 0.5 * x, epochs=8, verbose=0).history["loss"]
        assert losses[-1] < 0.5 * losses[0]
        assert np.abs(model.layers[0].initial_point.value.numpy() - start).max() > 0.1

    @pytest.mark.parametrize("changed", ["solver", *initial_point.names()])
    def test_saved_model_file_round_trip(self, tmp_path, changed):
        foreign = {"solver": tfp.math.ode.DormandPrince(rtol=1e-2)}
        options = foreign if changed == "solver" else {"initial_point": changed}
        layer = HomoODE(ConvDynamics(4, groups=2), **options)
        model = keras.Sequential([keras.Input((None, None, 4)), layer])
        x = random(2, 4, 4, 4)
        expected = model(x)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded(x), expected)
        # As JSON, which has no tuples: that is what the file holds.
        assert json.dumps(loaded.layers[0].get_config()) == json.dumps(layer.get_config())

    def test_keras_knows_what_xla_can_compile(self):
        """Without a bound on its steps XLA cannot store them."""
        bounded = solvers.get("bosh3", gradient="checkpoint", max_num_steps=32)
        cases = {True: [{"gradient": "adjoint"}, {"solver": bounded}], False: [{}]}
        for supported, options in cases.items():
            for each in options:
                model = keras.Sequential([HomoODE(DenseDynamics(4), **each)])
                model.compile("sgd", "mse", jit_compile=supported)
                assert model.layers[0].supports_jit == supported
        model = keras.Sequential([HomoODE(DenseDynamics(4), bounded)])
        model.compile("sgd", "mse", jit_compile=True)
        x = random(8, 4)
        assert np.isfinite(model.fit(x, x, verbose=0).history["loss"]).all()


class TestErrors:
    @pytest.mark.parametrize("name", ["rtol", "atol", "final_time"])
    @pytest.mark.parametrize("value", [0, -1.0, math.nan])
    def test_numbers_that_must_be_positive(self, name, value):
        with pytest.raises(
            ValueError, match=f"{name} must be a (positive finite number|number above 0), got"
        ):
            HomoODE(LinearDynamics(), **{name: value})

    def test_unknown_names(self):
        with pytest.raises(ValueError, match="dopri5"):
            HomoODE(LinearDynamics(), solver="dopri")
        with pytest.raises(ValueError, match="adjoint.*backprop"):
            HomoODE(LinearDynamics(), gradient="adjoin")
        with pytest.raises(ValueError, match="running_mean"):
            HomoODE(LinearDynamics(), initial_point="mean")

    def test_a_solver_object_keeps_its_own_tolerances(self):
        with pytest.raises(
            ValueError, match="rtol belong to a solver given by name.*Set them on the solver itself"
        ):
            HomoODE(LinearDynamics(), tfp.math.ode.BDF(), rtol=1e-5)

    @pytest.mark.parametrize(
        "solver", ["dopri5", tfp.math.ode.DormandPrince()], ids=["dopri5", "tfp_dopri"]
    )
    @pytest.mark.parametrize("graph", [False, True])
    def test_non_finite_state_names_the_time(self, solver, graph):
        layer = HomoODE(LinearDynamics(), solver)
        x = tf.constant([[1.0, math.nan]])
        with pytest.raises((SolverError, tf.errors.InvalidArgumentError), match="time"):
            (tf.function(layer) if graph else layer)(x)
