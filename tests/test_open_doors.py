# SPDX-License-Identifier: Apache-2.0
"""Parts of a user's own go wherever ours go: `.keras` files, `models.build`, a SavedModel."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from configs import digits
from homoode_tf import models, solvers
from homoode_tf.layers import DEQ, HomoODE, InitialPoint, NeuralODE
from homoode_tf.serving import export
from homoode_tf.solvers import ButcherTableau, RungeKutta, fixed_point
from tests.layers.vector_fields import DenseDynamics

registered = keras.saving.register_keras_serializable(package="own")

# Ralston's method: second order with the least error bound.
RALSTON = ButcherTableau("ralston", order=2, a=((2 / 3,),), b=(1 / 4, 3 / 4))


@registered
class Halfway(fixed_point.FixedPointSolver):
    """z <- (z + g(z)) / 2."""

    def begin(self, state):
        return ()

    def step(self, fn, iterate, memory):
        return iterate.state + 0.5 * iterate.residual, memory, tf.constant(0)


@registered
class HalfOfX(InitialPoint):
    """z(0) = x / 2."""

    def call(self, x):
        return 0.5 * x


@registered
class Cubic(keras.layers.Layer):
    """F(z; x) = x - z^3."""

    def call(self, z, x):
        return x - z**3


@registered
class Doubled(HomoODE):
    """HomoODE whose output is 2 z(T)."""

    def call(self, inputs, training=False):
        return 2.0 * super().call(inputs, training=training)


@registered
class Delegated(tfp.math.ode.DormandPrince):
    """A solver of TFP's kind."""

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


OWN = {
    "tableau": lambda: HomoODE(DenseDynamics(4), RungeKutta(RALSTON, num_steps=5)),
    "adjoint of its own": lambda: NeuralODE(
        DenseDynamics(4), RungeKutta("dopri5", adjoint_solver=RungeKutta(RALSTON, num_steps=9))
    ),
    "fixed-point solver": lambda: DEQ(DenseDynamics(4), Halfway(max_num_iterations=60)),
    "fixed-point solver by name": lambda: DEQ(DenseDynamics(4), "own>Halfway", rtol=1e-2),
    "initial point": lambda: HomoODE(DenseDynamics(4), initial_point=HalfOfX()),
    "initial point by name": lambda: DEQ(
        DenseDynamics(4), initial_point="own>HalfOfX", on_failure="return"
    ),
    "dynamics": lambda: HomoODE(Cubic()),
    "layer": lambda: Doubled(DenseDynamics(4)),
    "TFP's kind of solver": lambda: HomoODE(DenseDynamics(4), Delegated(rtol=1e-3)),
}
# What `config.model` says for the same parts, in the image classifier.
CONFIGS = {
    "tableau": {"solver": lambda: RungeKutta(RALSTON, num_steps=5)},
    "fixed-point solver": {
        "layer": "deq",
        "gradient": "implicit",
        "solver": lambda: Halfway(max_num_iterations=5, on_failure="return"),
    },
    "fixed-point solver by name": {
        "layer": "deq",
        "gradient": "implicit",
        "solver": lambda: "own>Halfway",
    },
    "initial point": {"initial_point": HalfOfX},
    "initial point by name": {"initial_point": lambda: "own>HalfOfX"},
    "dynamics": {"dynamics": Cubic},
    "layer by name": {"layer": "own>Doubled"},
    "TFP's kind of solver": {"solver": lambda: Delegated(rtol=1e-2)},
}


@pytest.mark.parametrize("name", OWN)
def test_keras_file(name, tmp_path):
    model = keras.Sequential([keras.Input((4,)), OWN[name](), keras.layers.Dense(1)])
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    expected = model(x)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(x), expected)


def build(name):
    config = digits.get_config().model
    with config.unlocked():
        config.update({"channels": 8, "head_channels": 8, "groups": 4, "rtol": 1e-2, "atol": 1e-2})
        config.solver = "heun_euler"  # has the fewest stages to trace
        for field, value in CONFIGS[name].items():
            config[field] = value() if callable(value) else value
    return models.build(config, (8, 8, 1), 10, (0.3,), (0.4,))


@pytest.mark.parametrize("name", CONFIGS)
def test_model_and_saved_model(name, tmp_path):
    model = build(name)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1)).astype(np.uint8)
    expected = model(images)
    step_control = "batch" if name == "TFP's kind of solver" else "sample"
    export.save(model, tmp_path / "saved_model", (8, 8, 1), step_control=step_control)
    answer = tf.saved_model.load(tmp_path / "saved_model").signatures["serve"](
        images=tf.constant(images)
    )
    np.testing.assert_allclose(answer["logits"], expected, atol=0.02)


def test_saved_coefficients_are_plain():
    solver = RungeKutta(RALSTON, num_steps=5)
    again = solvers.get(json.loads(json.dumps(solvers.serialize(solver))))
    assert again.tableau == RALSTON and again.settings == solver.settings


@pytest.mark.parametrize(
    ("layer", "solver"),
    [
        (HomoODE, {"class_name": "RungeKutta", "config": {"tableau": "rk4", "num_steps": 4}}),
        (NeuralODE, {"class_name": "BDF", "config": {"rtol": 0.01, "atol": 0.01}}),
        (DEQ, {"class_name": "Anderson", "config": {"memory": 3}}),
    ],
)
def test_configs_of_version_0_1(layer, solver):
    """Beside a solver object they hold the layer's own defaults, which meant nothing."""
    config = layer(DenseDynamics(4)).get_config() | {"solver": solver, "rtol": 1e-3, "atol": 1e-3}
    config |= {"max_num_iterations" if layer is DEQ else "max_num_steps": 50}
    made = layer.from_config(config).solver
    assert type(made).__name__ == solver["class_name"]


def test_what_is_not_registered_says_so():
    class Unknown(tfp.math.ode.DormandPrince):
        pass

    with pytest.raises(ValueError, match="register_keras_serializable"):
        HomoODE(DenseDynamics(4), Unknown()).get_config()
    with pytest.raises(ValueError, match=r"solver must be one of euler, .*'package>Name'"):
        HomoODE(DenseDynamics(4), "own>Nothing")
