# SPDX-License-Identifier: Apache-2.0
"""How does the memory of a training step grow with the number of steps of the solver?

    python -m benchmarks.memory [--peers ours torch] [--num_steps 4 8 16 32 64] [--output DIR]

The CIFAR-10 HomoODE is integrated by RK4 with so many equal steps, four evaluations of F each; each
measurement is made in a fresh process. Peers that take one step only are not among them.
"""

import argparse
import os
import pathlib

from benchmarks import memory_growth, peers, reporting

_BASE = "torch/backprop"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory")
    parser.add_argument("--peers", nargs="+", default=["ours", "torch"], help="of ours and torch")
    parser.add_argument("--num_steps", type=int, nargs="+", default=[4, 8, 16, 32, 64])
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/benchmarks"))
    arguments = parser.parse_args()
    try:
        expanded = peers.expand(arguments.peers)
    except ValueError as error:
        parser.error(str(error))
    refused = [name for name in expanded if not name.startswith(("ours", "torch"))]
    refused += [name for name in arguments.peers if name in peers.ONE_STEP]
    if refused:
        parser.error(
            "--peers must be of ours and torch, and take more than one step, got "
            f"{', '.join(refused)}"
        )
    arguments.peers = [name for name in expanded if name not in peers.ONE_STEP]
    return arguments


def main() -> None:
    arguments = _arguments()
    peers.require([*peers.packages(arguments.peers), "matplotlib"])
    specs = {}
    for peer in arguments.peers:
        settings = peers.candidate_settings(peer)[0]
        spec = peers.PeerSpec(peer, peers.settings_of(peer, settings), threads=arguments.threads)
        specs[peer] = [spec.replace(num_steps=number) for number in arguments.num_steps]
    measured = memory_growth.measure(specs, arguments.batch_size)
    peaks = {name: [point["peak_mib"] for point in points] for name, points in measured.items()}
    results = {
        "machine": reporting.machine(),
        "batch_size": arguments.batch_size,
        "num_steps": arguments.num_steps,
        "state_mib": memory_growth.state_mib(arguments.batch_size),
        "peak_mib": peaks,
    }
    reporting.write(arguments.output, "memory", results, _report(results))
    from benchmarks import figures

    figures.memory_lines(arguments.output / "memory.png", arguments.num_steps, peaks)


def _report(results: dict) -> str:
    numbers, state, peaks = results["num_steps"], results["state_mib"], results["peak_mib"]
    base = peaks.get(_BASE)
    header = ["peer", *(f"{number} steps" for number in numbers), "states a step"]
    header += [f"/ {_BASE}, {numbers[-1]} steps"] if base else []
    rows = []
    for name, values in peaks.items():
        row = [name, *map(round, values), memory_growth.growth(numbers, values, state)]
        rows.append([*row, values[-1] / base[-1]] if base else row)
    return (
        f"Peak memory (MiB) of a training step above the built, idle process, by RK4 with equal "
        f'steps at batch {results["batch_size"]}. One state is {state:.3g} MiB; "states a step" is '
        f"what each step beyond the first count added, in units of it.\n\n"
        f"{reporting.markdown_table(header, rows)}"
    )


if __name__ == "__main__":
    main()
