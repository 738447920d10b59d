# SPDX-License-Identifier: Apache-2.0
"""A solver of one's own: a tableau for ODEs, an iteration for fixed points; both in a saved model.

    python -m examples.own_solver

Ralston's method has the least error bound of all second-order methods of two stages. Aitken's
extrapolation, element by element, speeds up a fixed-point iteration that converges linearly.
"""

import argparse
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

from homoode_tf.layers import DEQ, DenseDynamics, NeuralODE
from homoode_tf.solvers import ButcherTableau, RungeKutta, fixed_point

RALSTON = ButcherTableau("ralston", order=2, a=((2 / 3,),), b=(1 / 4, 3 / 4))


@keras.saving.register_keras_serializable(package="examples")
class Aitken(fixed_point.FixedPointSolver):
    """z <- z - r^2 / (r' - r): r is the residual at z, and r' that at z + r."""

    def begin(self, state):
        return ()

    def step(self, fn, iterate, memory):
        residual = iterate.residual
        ahead = iterate.state + residual
        change = fn(ahead) - ahead - residual
        safe = tf.where(tf.abs(change) > 1e-12, change, tf.ones_like(change))
        jump = tf.where(tf.abs(change) > 1e-12, -residual * residual / safe, residual)
        return iterate.state + jump, memory, tf.constant(1)  # one evaluation of its own


def order_of(tableau: ButcherTableau) -> float:
    """The order at which the error of z' = -t z falls with the number of steps."""
    exact, errors = np.exp(-0.5), []
    for number in (8, 16):
        solver = RungeKutta(tableau, num_steps=number)
        end = solver.solve(lambda t, z: -t * z, 0.0, tf.ones([1], tf.float64), [1.0]).states[-1]
        errors.append(abs(float(end[0]) - exact))
    return float(np.log2(errors[0] / errors[1]))


def main(arguments: list[str] | None = None) -> float:
    """Shows the order, saves and loads a model with both solvers, and returns the order."""
    argparse.ArgumentParser(prog="python -m examples.own_solver").parse_args(arguments)
    order = order_of(RALSTON)
    print(f"Ralston's method converges at order {order:.2f}")

    results = Aitken(rtol=1e-6, atol=1e-6).solve(tf.cos, tf.ones([1, 1]))
    plain = fixed_point.get("damped", rtol=1e-6, atol=1e-6).solve(tf.cos, tf.ones([1, 1]))
    print(
        f"z = cos z: Aitken {int(results.num_evaluations)} evaluations, "
        f"damped iteration {int(plain.num_evaluations)}"
    )

    flow = NeuralODE(DenseDynamics(4), RungeKutta(RALSTON, num_steps=8))
    rest = DEQ(DenseDynamics(4, kernel_initializer=keras.initializers.Orthogonal(0.3)), Aitken())
    model = keras.Sequential([keras.Input((4,)), flow, rest])
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.keras")
        model.save(path)
        again = keras.saving.load_model(path)
    np.testing.assert_allclose(again(x), model(x), rtol=1e-6)
    print(f"saved and loaded with {again.layers[0].solver.name} and {type(rest.solver).__name__}")
    return order


if __name__ == "__main__":
    main()
