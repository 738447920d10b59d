# SPDX-License-Identifier: Apache-2.0
"""The ways from a start to an equilibrium, and what they cost.

All stop where rms(g(z) - z) is at most the tolerance, rms being the root mean square.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import homotopy, solvers
from homoode_tf.solvers import fixed_point

Map = Callable[[tf.Tensor], tf.Tensor]

# So small that the absolute tolerance alone decides.
_NO_RTOL = 1e-15
_CURVE_POINTS = 1001
_CURVE_STEP = 0.02


@dataclasses.dataclass(frozen=True, eq=False)
class Way:
    """A way from a start towards an equilibrium.

    Attributes:
        points: Where the method stood, one after another; of shape (n, 2).
        end: Its answer, of shape (2,).
        evaluations: Evaluations of g.
        jacobians: Jacobian matrices of g.
        products: Products of the Jacobian with a vector.
        arrived: Whether the residual has met the tolerance.
        curve: The curve on which the points lie, of shape (m, 2); the points for an iteration.
        parameters: The homotopy's lambda along the curve, of shape (m,); None for all others.
        arc_lengths: Arc length in (z, lambda) along the curve, of shape (m,); None likewise.
    """

    points: np.ndarray
    end: np.ndarray
    evaluations: int
    jacobians: int
    products: int
    arrived: bool
    curve: np.ndarray
    parameters: np.ndarray | None = None
    arc_lengths: np.ndarray | None = None

    @property
    def length(self) -> float:
        """Euclidean length of the curve."""
        return float(np.linalg.norm(np.diff(self.curve, axis=0), axis=1).sum())

    @property
    def work(self) -> int:
        """Evaluations and products together; a matrix counts as its two columns."""
        return self.evaluations + 2 * self.jacobians + self.products

    def distance(self, equilibrium: np.ndarray) -> float:
        """Euclidean distance of the end from a point of shape (2,)."""
        return float(np.linalg.norm(self.end - equilibrium))


def by_homotopy(g: Map, start: np.ndarray, tolerance: float, name: str) -> Way:
    """Follows a homotopy to z - g(z) = 0, "fixed_point" or "newton".

    The path is followed twice: with the tracer's own steps, which are counted, and with short
    steps for the curve.

    Args:
        g: The map, of one state.
        start: z0, of shape (2,).
        tolerance: Largest rms(g(z) - z) at the end.
        name: Name of the homotopy.
    """

    def follow(**steps):
        return homotopy.trace(
            lambda z: z - g(z),
            tf.constant(start),
            homotopy=name,
            rtol=_NO_RTOL,
            atol=tolerance,
            max_distance=10.0,
            on_failure="return",
            **steps,
        )

    path = follow()
    fine = follow(initial_step_length=_CURVE_STEP, max_step_length=_CURVE_STEP)
    return Way(
        points=path.states.numpy(),
        end=path.state.numpy(),
        evaluations=path.num_evaluations,
        jacobians=path.num_jacobian_evaluations,
        products=path.num_jacobian_products,
        arrived=path.success,
        curve=fine.states.numpy(),
        parameters=fine.lambdas.numpy(),
        arc_lengths=fine.arc_lengths.numpy(),
    )


def by_flow(g: Map, start: np.ndarray, tolerance: float, longest: float = 100.0) -> Way:
    """Integrates z' = g(z) - z by dopri5 with rtol = atol = tolerance.

    The flow ends with the first step whose residual meets the tolerance.

    Args:
        g: The map, of one state or of a batch.
        start: z0, of shape (2,).
        tolerance: Largest rms(g(z) - z) at the end.
        longest: The time at which the flow is given up.
    """
    solver = solvers.get("dopri5", rtol=tolerance, atol=tolerance)
    start = tf.constant(start)

    def solve(times):
        """Times, states and evaluations of a solve that ends with, or passes, some times."""

        @tf.function(autograph=False)
        def compiled():
            results = solver.solve(lambda t, z: g(z) - z, 0.0, start, times)
            return results.times, results.states, results.diagnostics.num_ode_fn_evaluations

        # Traced once for these times: TensorFlow warns of tracing again, which is meant here.
        return [tensor.numpy() for tensor in compiled.get_concrete_function()()]

    times, states, _ = solve(tfp.math.ode.ChosenBySolver(longest))
    residuals = np.sqrt(np.mean((g(states) - states).numpy() ** 2, axis=1))
    settled = np.flatnonzero(residuals <= tolerance)
    last = int(settled[0]) if settled.size else len(residuals) - 1
    time = float(times[last])
    # The same steps again, but for the last one, which now ends there.
    _, until_then, evaluations = solve([time])
    _, curve, _ = solve(np.linspace(0.0, time, _CURVE_POINTS)[1:].tolist())
    return Way(
        points=states[: last + 1],
        end=until_then[-1],
        evaluations=int(evaluations),
        jacobians=0,
        products=0,
        arrived=bool(settled.size),
        curve=np.concatenate([start.numpy()[np.newaxis], curve]),
    )


def by_iteration(
    g: Map, start: np.ndarray, tolerance: float, name: str, max_num_iterations: int = 300
) -> Way:
    """Iterates by a fixed-point solver.

    Args:
        g: The map, of one state.
        start: z0, of shape (2,).
        tolerance: Largest rms(g(z) - z) at the end.
        name: Name of the solver.
        max_num_iterations: Where it gives up.
    """
    results, points = recorded(g, start[np.newaxis], tolerance, name, max_num_iterations)
    evaluations = int(results.num_iterations[0])
    points = points[:, 0]
    # Products of the Jacobian with vectors evaluate g where it has been evaluated already.
    moved = np.append(True, (np.diff(points, axis=0) != 0.0).any(axis=1))
    return Way(
        points=points[moved],
        end=results.state[0].numpy(),
        evaluations=evaluations,
        jacobians=0,
        products=int(results.num_evaluations) - evaluations,
        arrived=bool(results.success),
        curve=points[moved],
    )


def recorded(
    g: Map, starts: np.ndarray, tolerance: float, name: str, max_num_iterations: int = 300
) -> tuple[fixed_point.FixedPointResults, np.ndarray]:
    """Solves z = g(z) for a batch and records where g was evaluated.

    Args:
        g: The map, of a batch of states.
        starts: Starts, of shape (batch, 2).
        tolerance: Largest rms(g(z) - z) at the end.
        name: Name of the solver.
        max_num_iterations: Where it gives up.

    Returns:
        The results, and the points, of shape (evaluations, batch, 2): the state that was reached
        with k evaluations has the index k.
    """
    points = []

    def recording(state):
        # The solver's loop runs eagerly, so that each evaluation passes here.
        points.append(state.numpy())
        return g(state)

    solver = fixed_point.get(
        name,
        rtol=_NO_RTOL,
        atol=tolerance,
        max_num_iterations=max_num_iterations,
        on_failure="return",
    )
    return solver.solve(recording, tf.constant(starts)), np.stack(points)


# What the page compares, by the names that it prints.
WAYS: dict[str, Callable[[Map, np.ndarray, float], Way]] = {
    "fixed-point homotopy": lambda *given: by_homotopy(*given, "fixed_point"),
    "Newton homotopy": lambda *given: by_homotopy(*given, "newton"),
    "flow z' = g - z": by_flow,
    "Picard": lambda *given: by_iteration(*given, "damped"),
    "Anderson": lambda *given: by_iteration(*given, "anderson"),
    "Broyden": lambda *given: by_iteration(*given, "broyden"),
    "Newton–Krylov": lambda *given: by_iteration(*given, "newton_krylov"),  # noqa: RUF001
}
