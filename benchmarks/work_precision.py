# SPDX-License-Identifier: Apache-2.0
"""What does accuracy cost each adaptive solver, in evaluations of F and in time?

    python -m benchmarks.work_precision [--repeats 5] [--output DIR]

Every adaptive solver of this project, compiled by `tf.function` in float64, beside SciPy's RK45 and
DOP853, on problems whose solutions are known. SciPy's steps run in Python, ours in a graph: the
evaluations compare the methods, the times also the machinery around them.
"""

import argparse
import pathlib
import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks import peers, reporting

_TARGETS = (1e-3, 1e-6, 1e-9)
_SCIPY = ("RK45", "DOP853")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.work_precision")
    parser.add_argument("--repeats", type=int, default=5, help="times each solve is timed")
    parser.add_argument(
        "--tolerances",
        type=float,
        nargs="+",
        default=[10.0**-k for k in range(2, 12)],
        help="rtol = atol",
    )
    parser.add_argument(
        "--max_evaluations", type=int, default=100_000, help="where a low order gives up"
    )
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/benchmarks"))
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    peers.require(["tensorflow", "scipy", "matplotlib"])
    from benchmarks import figures, ode_problems

    curves = {}
    for problem in ode_problems.PROBLEMS:
        makers = {
            **{name: _make_ours(problem, name) for name in _adaptive_names()},
            **{f"SciPy {name}": _make_scipy(problem, name) for name in _SCIPY},
        }
        curves[problem.name] = {
            name: _measure(problem, make, arguments) for name, make in makers.items()
        }
    results = {"machine": reporting.machine(), "curves": curves}
    reporting.write(arguments.output, "work_precision", results, _report(curves))
    figures.work_precision(arguments.output / "work_precision.png", curves)


def _adaptive_names() -> list[str]:
    from homoode_tf.solvers.ode import tableaus

    return [name for name, tableau in tableaus.BY_NAME.items() if tableau.adaptive]


def _make_ours(problem, name: str) -> Callable[[float], Callable[[], tuple[np.ndarray, int]]]:
    """Returns a function from a tolerance to a solve, which returns z(end) and evaluations."""
    import tensorflow as tf

    from homoode_tf import solvers

    start = tf.constant(problem.start, tf.float64)

    def make(tolerance):
        # Low orders take many steps; what ends them is --max_evaluations.
        solver = solvers.get(name, rtol=tolerance, atol=tolerance, max_num_steps=10_000_000)

        @tf.function(autograph=False)
        def solve(state):
            results = solver.solve(lambda t, z: problem.field(tf, t, z), 0.0, state, [problem.end])
            return results.states[-1], results.diagnostics.num_ode_fn_evaluations

        def run():
            state, evaluations = solve(start)
            return state.numpy(), int(evaluations)

        return run

    return make


def _make_scipy(problem, name: str) -> Callable[[float], Callable[[], tuple[np.ndarray, int]]]:
    from scipy.integrate import solve_ivp

    def make(tolerance):
        def run():
            result = solve_ivp(
                lambda t, z: problem.field(np, t, z),
                (0.0, problem.end),
                problem.start,
                method=name,
                rtol=tolerance,
                atol=tolerance,
            )
            return result.y[:, -1], result.nfev

        return run

    return make


def _measure(problem, make, arguments) -> list[dict]:
    """Points of one curve, from loose to tight, until a solve takes too many evaluations."""
    points = []
    for tolerance in sorted(arguments.tolerances, reverse=True):
        run = make(tolerance)
        state, evaluations = run()  # also compiles
        seconds = []
        for _ in range(arguments.repeats):
            begin = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - begin)
        points.append(
            {
                "tolerance": tolerance,
                "error": problem.error(state),
                "evaluations": evaluations,
                "seconds": statistics.median(seconds),
            }
        )
        if evaluations > arguments.max_evaluations:
            break
    return points


def cost_at(points: list[dict], error: float, quantity: str) -> float | None:
    """Returns what an error costs, between two points on a straight line in logarithms.

    Args:
        points: From loose to tight.
        error: The error wanted.
        quantity: "evaluations" or "seconds".

    Returns:
        The cost where the curve first gets down to the error, or None if it never does.
    """
    for before, after in zip([None, *points], points, strict=False):
        if after["error"] > error:
            continue
        if before is None:
            return float(after[quantity])
        logs = [np.log(max(point["error"], 1e-300)) for point in (before, after)]
        share = (logs[0] - np.log(error)) / (logs[0] - logs[1])
        return float(before[quantity] ** (1.0 - share) * after[quantity] ** share)
    return None


def _report(curves: dict) -> str:
    header = ["solver", *(f"F at {t:.0e}" for t in _TARGETS), *(f"ms at {t:.0e}" for t in _TARGETS)]
    parts = []
    for problem, solvers in curves.items():
        rows = []
        for name, points in solvers.items():
            evaluations = [cost_at(points, target, "evaluations") for target in _TARGETS]
            seconds = [cost_at(points, target, "seconds") for target in _TARGETS]
            rows.append(
                [
                    name,
                    *(None if value is None else round(value) for value in evaluations),
                    *(None if value is None else 1e3 * value for value in seconds),
                ]
            )
        table = reporting.markdown_table(header, rows)
        parts.append(
            f"Evaluations of F and time for a relative error at the end, {problem}:\n\n{table}"
        )
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
