# SPDX-License-Identifier: Apache-2.0
"""How long does the CIFAR-10 HomoODE take to answer, in each form in which it is served?

    python -m benchmarks.inference [--batch_sizes 1 8 64] [--rounds 20] [--output DIR]

All forms have the same weights, trained for as many steps as there are rounds, and see the same
images; each runs in its own process with the same threads, and they are timed in turn.
`torch/tuned` is PyTorch with the one step that our solver takes, written out by hand and compiled.
"""

import argparse
import os
import pathlib
import sys
import tempfile

import numpy as np

from benchmarks import image_batches, measurements, peers, reference_model, reporting

_PEERS = (
    "ours/backprop",
    "ours/bfloat16",
    "served/keras",
    "served/saved_model",
    "served/saved_model_bfloat16",
    "served/litert",
    "served/onnx",
    "torch/tuned",
    "torch/tuned_bfloat16",
)
_BASE = "torch/tuned"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference")
    parser.add_argument("--peers", nargs="+", default=_PEERS, choices=_PEERS)
    parser.add_argument("--batch_sizes", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--rounds", type=int, default=20, help="answers and training steps of each")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/benchmarks"))
    arguments = parser.parse_args()
    peers.require(peers.packages(arguments.peers))
    rows: dict[str, dict] = {name: {} for name in arguments.peers}
    for size in arguments.batch_sizes:
        for name, result in _time(arguments, size).items():
            rows[name][size] = result["trained"] | {"first": result["first_forward"]}
    results = {"machine": reporting.machine(), "rounds": arguments.rounds, "peers": rows}
    reporting.write(arguments.output, "inference", results, _report(results))
    return 0


def _time(arguments: argparse.Namespace, batch_size: int) -> dict[str, dict]:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        image_batches.write_batches(folder, 2 * arguments.rounds, batch_size, data_dir=None)
        np.savez(folder / "weights.npz", **reference_model.make_weights(seed=0))
        specs = []
        for peer in arguments.peers:
            settings = peers.settings_of(peer, peers.candidate_settings(peer)[0])
            specs.append(peers.PeerSpec(peer, settings, threads=arguments.threads))
        return measurements.time_in_turn(specs, folder, arguments.rounds, arguments.rounds)


def _report(results: dict) -> str:
    rows, machine = results["peers"], results["machine"]
    sizes = list(next(iter(rows.values())))
    header = ["peer"]
    for size in sizes:
        header += [f"batch {size} (ms)", *([f"/ {_BASE}"] if _BASE in rows else [])]
    lines = []
    for name, times in rows.items():
        line = [name]
        for size in sizes:
            line.append(1000 * times[size]["forward"])
            if _BASE in rows:
                line.append(times[size]["forward"] / rows[_BASE][size]["forward"])
        lines.append(line)
    return (
        f"`{machine['command']}` on {machine['processor']} ({machine['bfloat16']}), medians of "
        f"{results['rounds']} answers in turn.\n\n" + reporting.markdown_table(header, lines)
    )


if __name__ == "__main__":
    sys.exit(main())
