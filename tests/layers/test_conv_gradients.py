# SPDX-License-Identifier: Apache-2.0
"""The gradient modes against each other on the convolutional model's dynamics.

The paper's own adjoint is 38 per cent off here, at every tolerance.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import solvers
from homoode_tf.layers import ConvDynamics

INPUTS = ("initial_state", "condition", "final_time", "weights")


def gradients(mode, dtype, tolerance, activation="relu", solver="dopri5"):
    """Gradients of a scalar of z(T) by z(0), x, T and the weights of F."""
    keras.utils.set_random_seed(0)
    dynamics = ConvDynamics(8, groups=4, dropout_rate=0.0, activation=activation, dtype=dtype)
    dynamics.build((2, 6, 6, 8), (2, 6, 6, 8))
    rng = np.random.default_rng(0)
    z0, x, direction = (tf.constant(rng.normal(size=(2, 6, 6, 8)), dtype) for _ in range(3))
    weights = [variable.value for variable in dynamics.trainable_variables]
    solver = solvers.get(solver, rtol=tolerance, atol=tolerance, gradient=mode)

    @tf.function
    def compute(z0, x, final_time):
        with tf.GradientTape() as tape:
            tape.watch([z0, x, final_time])
            results = solver.solve(
                lambda t, z, x: dynamics(z, x), 0.0, z0, [final_time], constants={"x": x}
            )
            loss = tf.reduce_sum(direction * results.states[-1])
        return tape.gradient(loss, [z0, x, final_time, weights])

    *by_inputs, by_weights = compute(z0, x, tf.constant(1.0, dtype))
    by_weights = np.concatenate([np.ravel(g) for g in by_weights])
    return dict(zip(INPUTS, [*map(np.array, by_inputs), by_weights], strict=True))


def distances(ours, theirs):
    return {n: np.linalg.norm(ours[n] - theirs[n]) / np.linalg.norm(theirs[n]) for n in INPUTS}


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-6), ("float64", 1e-12)])
def test_checkpoint_equals_backprop(dtype, limit):
    modes = ("checkpoint", "backprop")
    found = distances(*(gradients(mode, dtype, 1e-3, solver="bosh3") for mode in modes))
    assert max(found.values()) < limit, found


@pytest.mark.slow
def test_adjoint_approaches_the_exact_gradient_of_smooth_dynamics():
    coarse, fine = adjoint_errors("gelu")
    assert fine < 1e-4 < coarse


@pytest.mark.slow
def test_adjoint_approaches_the_exact_gradient_across_kinks():
    """A ReLU's kink inside a step leaves the derivative an error of the order of the step."""
    coarse, fine = adjoint_errors("relu")
    assert fine < 2e-3 and fine < 0.1 * coarse


def adjoint_errors(activation):
    exact = gradients("checkpoint", "float64", 1e-9, activation)
    return [
        max(distances(gradients("adjoint", "float64", tolerance, activation), exact).values())
        for tolerance in (1e-3, 1e-6)
    ]
