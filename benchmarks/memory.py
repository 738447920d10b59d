# SPDX-License-Identifier: Apache-2.0
"""How does the memory of a training step grow with the number of steps of the solver?

    python -m benchmarks.memory [--peers ours torch] [--num_steps 4 8 16 32 64] [--output DIR]

The CIFAR-10 HomoODE is integrated by RK4 with so many equal steps, four evaluations of F each; each
measurement is made in a fresh process.
"""

import argparse
import os
import pathlib
import sys
import tempfile

import numpy as np

from benchmarks import image_batches, measurements, peers, reference_model, reporting

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
        arguments.peers = peers.expand(arguments.peers)
    except ValueError as error:
        parser.error(str(error))
    refused = [name for name in arguments.peers if not name.startswith(("ours", "torch"))]
    if refused:
        parser.error(f"--peers must be of ours and torch, got {', '.join(refused)}")
    return arguments


def main() -> None:
    arguments = _arguments()
    peers.require([*peers.packages(arguments.peers), "matplotlib"])
    peaks: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        image_batches.write_batches(folder, 3, arguments.batch_size, data_dir=None)
        np.savez(folder / "weights.npz", **reference_model.make_weights(seed=0))
        for peer in arguments.peers:
            settings = peers.candidate_settings(peer.split("/")[0])[0]
            settings = peers.settings_of(peer, settings)
            peaks[peer] = []
            for number in arguments.num_steps:
                print(f"[{peer}, {number} steps]", file=sys.stderr, flush=True)
                spec = peers.PeerSpec(peer, settings, num_steps=number, threads=arguments.threads)
                peaks[peer].append(measurements.peak_memory(spec, folder))
    # The state is float32, half the image's height and width.
    height, width, _ = reference_model.IMAGE_SHAPE
    elements = arguments.batch_size * (height // 2) * (width // 2) * reference_model.CHANNELS
    state_mib = 4 * elements / 2**20
    results = {
        "machine": reporting.machine(),
        "batch_size": arguments.batch_size,
        "num_steps": arguments.num_steps,
        "state_mib": state_mib,
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
        growth = None
        if len(numbers) > 1:
            growth = (values[-1] - values[0]) / (numbers[-1] - numbers[0]) / state
        row = [name, *map(round, values), growth]
        rows.append([*row, values[-1] / base[-1]] if base else row)
    return (
        f"Peak memory (MiB) of a training step above the built, idle process, by RK4 with equal "
        f'steps at batch {results["batch_size"]}. One state is {state:.3g} MiB; "states a step" is '
        f"what each step beyond the first count added, in units of it.\n\n"
        f"{reporting.markdown_table(header, rows)}"
    )


if __name__ == "__main__":
    main()
