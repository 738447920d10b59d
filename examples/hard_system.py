# SPDX-License-Identifier: Apache-2.0
"""A system of equations at which Newton's method fails, solved by homotopy continuation.

    python -m examples.hard_system [--picture hard_system.png]

arctan(z) = 0 is Newton's classical trap: from |z| > 1.39 each step goes further away. Here each of
several unknowns sits in such a trap and feels its neighbours. The continuation starts from the same
point and follows the path on which the residual shrinks evenly to zero.
"""

import argparse
import pathlib

import numpy as np
import tensorflow as tf

from homoode_tf import homotopy
from homoode_tf.report import style

SHIFT = tf.constant([0.5, -1.0, 0.25, 0.75], tf.float64)


def residual(z: tf.Tensor) -> tf.Tensor:
    """r(z) = arctan(3 (z - shift)) + 0.2 (the neighbours' difference)."""
    return tf.atan(3.0 * (z - SHIFT)) + 0.2 * (tf.roll(z, 1, 0) - tf.roll(z, -1, 0))


def newton(z: tf.Tensor, number: int = 12) -> list[float]:
    """The distance of Newton's iterates, up to so many, from the middle of the traps."""
    sizes = []
    for _ in range(number):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = residual(z)
        sizes.append(float(tf.reduce_max(tf.abs(z - SHIFT))))
        try:
            z = z - tf.linalg.solve(tape.jacobian(value, z), value[:, tf.newaxis])[:, 0]
        except tf.errors.InvalidArgumentError:  # so far away that the Jacobian is singular
            break
    return sizes


def main(arguments: list[str] | None = None) -> float:
    """Tries both, draws, and returns the size of the residual that the continuation ends with."""
    parser = argparse.ArgumentParser(prog="python -m examples.hard_system")
    parser.add_argument("--picture", type=pathlib.Path, help="where to draw it")
    options = parser.parse_args(arguments)
    start = tf.constant([3.0, 3.0, -3.0, 3.0], tf.float64)

    sizes = newton(start)
    path = homotopy.trace(residual, start)
    end = float(tf.reduce_max(tf.abs(residual(path.state))))
    print(f"Newton's method is {sizes[-1]:.2g} away after {len(sizes)} steps")
    print(f"continuation: residual {end:.1g} at z = {np.round(path.state, 4)}")
    if options.picture:
        draw(options.picture, sizes, path)
    return end


def draw(file: pathlib.Path, sizes: list[float], path: homotopy.Path) -> None:
    """Draws Newton's distances, and the unknowns along the continuation."""
    with style.figure(file, 8, 3.4) as figure:
        left, right = figure.subplots(1, 2)
        left.semilogy(sizes, "o-", color=style.RED)
        left.set(xlabel="Newton's step", ylabel="distance", title="Newton's method")
        for number, values in enumerate(np.asarray(path.states).T, start=1):
            right.plot(path.lambdas, values, ".-", label=f"$z_{number}$")
        right.set(xlabel=r"$\lambda$", ylabel="z", title="Homotopy continuation")
        right.legend()


if __name__ == "__main__":
    main()
