# SPDX-License-Identifier: Apache-2.0
"""Peak memory of HomoODE against DEQ and against backpropagation through as many layers.

    python -m benchmarks.family_memory [--evaluations 16 32 64 128 256] [--output DIR]

All members of the family are the CIFAR-10 model with the same weights and the same dynamics
F(z; x), and evaluate it equally often in the forward pass. Each measurement is made in a fresh
process, on random images; no solver may stop early.
"""

import argparse
import dataclasses
import os
import pathlib
from collections.abc import Sequence

from benchmarks import memory_growth, peers, reporting

# Never reached: the DEQ uses all of its iterations.
_NEVER_CONVERGED = 0.0


@dataclasses.dataclass(frozen=True)
class Member:
    """One way from the initial point to the state, and one way back.

    Attributes:
        method: What takes the steps: a Runge-Kutta or a fixed-point solver.
        gradient: How the layer is differentiated.
        each: Evaluations of F in one step.
        besides: Evaluations besides the steps: a DEQ's gradient goes through evaluations at the
            fixed point.
        backward: Evaluations in the backward pass; None where they are as many as forwards.
    """

    method: str
    gradient: str
    each: int = 1
    besides: int = 0
    backward: int | None = None

    def spec(self, evaluations: int, threads: int = 1) -> peers.PeerSpec:
        """Returns what to run, so that F is evaluated so often in the forward pass.

        Raises:
            ValueError: If no number of steps does that.
        """
        num_steps, rest = divmod(evaluations - self.besides, self.each)
        if rest or num_steps < 1:
            raise ValueError(
                f"evaluations must be {self.besides} and a positive multiple of {self.each} for "
                f"{self.method} with {self.gradient}, got {evaluations}."
            )
        return peers.PeerSpec(
            f"ours/{self.gradient}",
            peers.candidate_settings("ours")[0],
            tolerance=_NEVER_CONVERGED,
            num_steps=num_steps,
            method=self.method,
            threads=threads,
        )

    def expected(self, evaluations: int) -> list[int]:
        """Returns how often F should be evaluated, [forward, backward]."""
        return [evaluations, evaluations if self.backward is None else self.backward]


# Euler's steps are residual layers with shared weights: z <- z + h F(z; x).
EXPLICIT = "explicit layers"
MEMBERS = {
    EXPLICIT: Member("euler", "backprop"),
    "HomoODE, backprop": Member("rk4", "backprop", each=4),
    "HomoODE, checkpoint": Member("rk4", "checkpoint", each=4),
    "HomoODE, adjoint": Member("rk4", "adjoint", each=4),
    "DEQ (Broyden), implicit": Member("broyden", "implicit", besides=1),
    "DEQ (Anderson), implicit": Member("anderson", "implicit", besides=1),
    "DEQ (Anderson), phantom": Member("anderson", "phantom", besides=5, backward=5),
    "DEQ (Anderson), Jacobian-free": Member("anderson", "jacobian_free", besides=1, backward=1),
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.family_memory")
    parser.add_argument("--evaluations", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/benchmarks"))
    arguments = parser.parse_args()
    try:
        arguments.specs = {
            name: [member.spec(n, arguments.threads) for n in arguments.evaluations]
            for name, member in MEMBERS.items()
        }
    except ValueError as error:
        parser.error(str(error))
    return arguments


def main() -> None:
    arguments = _arguments()
    peers.require([*peers.packages(["ours"]), "matplotlib"])
    numbers = arguments.evaluations
    measured = memory_growth.measure(arguments.specs, arguments.batch_size)
    for name, points in measured.items():
        check_evaluations(name, numbers, [point["evaluations"] for point in points])
    peaks = {name: [point["peak_mib"] for point in points] for name, points in measured.items()}
    results = {
        "machine": reporting.machine(),
        "batch_size": arguments.batch_size,
        "evaluations": numbers,
        "state_mib": memory_growth.state_mib(arguments.batch_size),
        "peak_mib": peaks,
    }
    reporting.write(arguments.output, "family_memory", results, report(results))
    from benchmarks import figures

    figures.memory_lines(
        arguments.output / "family_memory.png",
        numbers,
        peaks,
        x_label="evaluations of F in the forward pass",
        solid="HomoODE",
    )


def check_evaluations(name: str, numbers: Sequence[int], counted: Sequence[Sequence[int]]) -> None:
    """Checks that a member evaluated F as often as it was to, forwards and backwards.

    Raises:
        RuntimeError: If it did not, so that its memory says nothing.
    """
    for number, found in zip(numbers, counted, strict=True):
        expected = MEMBERS[name].expected(number)
        if list(found) != expected:
            raise RuntimeError(
                f"{name} was to evaluate F {expected} times (forward, backward), "
                f"but did {list(found)} times."
            )


def report(results: dict) -> str:
    """Returns the table in Markdown, with what it says and the command that made it."""
    numbers, state, peaks = results["evaluations"], results["state_mib"], results["peak_mib"]
    last = numbers[-1]
    header = ["implicit layer", *(f"{number} evaluations" for number in numbers)]
    header += ["states an evaluation", f"/ {EXPLICIT}, {last}", f"backward, {last}"]
    rows = [
        [
            name,
            *map(round, values),
            memory_growth.growth(numbers, values, state),
            values[-1] / peaks[EXPLICIT][-1],
            MEMBERS[name].expected(last)[1],
        ]
        for name, values in peaks.items()
    ]
    return (
        f"Peak memory (MiB) of a training step above the built, idle process, tracing included, at "
        f"batch {results['batch_size']}, by evaluations of F in the forward pass. One state is "
        f'{state:.3g} MiB; "states an evaluation" is what each evaluation beyond the first count '
        f'added, in units of it; "backward" counts evaluations of F with their vector-Jacobian '
        f"products. All counts are those that the layers reported.\n\n"
        f"    {results['machine']['command']}\n\n"
        f"{reporting.markdown_table(header, rows)}"
    )


if __name__ == "__main__":
    main()
