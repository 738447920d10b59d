# SPDX-License-Identifier: Apache-2.0
"""What do bfloat16 and XLA do to our training step and inference, on the device that there is?

    python -m benchmarks.device_step --data_dir DIR          # on a GPU: all that is asked above
    python -m benchmarks.device_step --batch_sizes 8 --rounds 2 --train_steps 4   # try it on a CPU

The CIFAR-10 HomoODE of `benchmarks.train_step`, with the same weights and batches, in every given
precision with and without XLA; each variant is a process of its own, and they are timed in turn.
TensorFlow takes a GPU where it finds one, and the table names it. XLA must know a bound on the
solver's steps and reserves the memory of so many: all variants have the same bound. Logits and
gradient of 16 images, and the losses, are compared with those of the first variant, float32 without
XLA unless other ones are asked for.
"""

import argparse
import itertools
import os
import pathlib
import sys
import tempfile

import numpy as np

from benchmarks import agreement, image_batches, measurements, peers, reference_model, reporting

_PRECISIONS = ("float32", "mixed_bfloat16")
_JIT = {"off": False, "on": True}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.device_step")
    parser.add_argument("--precisions", nargs="+", choices=_PRECISIONS, default=_PRECISIONS)
    parser.add_argument("--jit", nargs="+", choices=_JIT, default=list(_JIT), help="XLA off, on")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[64, 256])
    parser.add_argument(
        "--gradient", choices=("backprop", "checkpoint", "adjoint"), default="backprop"
    )
    parser.add_argument("--tolerance", type=float, default=1e-3, help="rtol = atol")
    parser.add_argument("--max_num_steps", type=int, default=12, help="bound on a solve's steps")
    parser.add_argument("--rounds", type=int, default=10, help="times each quantity is measured")
    parser.add_argument("--train_steps", type=int, default=50, help="before it is measured")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--data_dir", help="TFDS folder with CIFAR-10; random images without it")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/benchmarks"))
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.train_steps < arguments.rounds:
        parser.error("--rounds must be positive, and --train_steps at least as many")
    return arguments


def main() -> None:
    arguments = _arguments()
    peers.require(peers.packages(["ours"]))
    specs = make_specs(
        arguments.precisions,
        arguments.jit,
        gradient=arguments.gradient,
        max_num_steps=arguments.max_num_steps,
        tolerance=arguments.tolerance,
        threads=arguments.threads,
    )
    results = {
        "machine": reporting.machine(),
        "gradient": arguments.gradient,
        "tolerance": arguments.tolerance,
        "max_num_steps": arguments.max_num_steps,
        "train_steps": arguments.train_steps,
        "rounds": arguments.rounds,
        "batch_sizes": {},
    }
    for batch_size in arguments.batch_sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            results["images"] = image_batches.write_batches(
                folder,
                max(arguments.train_steps + arguments.rounds, measurements.MEMORY_STEPS),
                batch_size,
                arguments.data_dir,
            )
            np.savez(folder / "weights.npz", **reference_model.make_weights(seed=0))
            print(f"[batches of {batch_size}]", file=sys.stderr, flush=True)
            results["batch_sizes"][batch_size] = measure(
                specs, folder, arguments.rounds, arguments.train_steps
            )
    reporting.write(arguments.output, "device_step", results, report(results))


def make_specs(precisions, jits, *, gradient, max_num_steps, **options) -> list[peers.PeerSpec]:
    """Returns our peer in every precision, without and with XLA."""
    defaults = peers.candidate_settings("ours")[0]
    return [
        peers.PeerSpec(
            f"ours/{gradient}",
            {
                **defaults,
                "precision": precision,
                "jit_forward": _JIT[jit],
                "jit_step": _JIT[jit],
                "max_num_steps": max_num_steps,
            },
            label=f"{precision}, XLA {jit}",
            **options,
        )
        for precision, jit in itertools.product(precisions, jits)
    ]


def measure(
    specs: list[peers.PeerSpec], folder: pathlib.Path, rounds: int, train_steps: int
) -> dict[str, dict]:
    """Measures variants at one batch size.

    Args:
        specs: The variants; the others are compared with the first that runs.
        folder: Where weights and batches are.
        rounds: How many times each quantity is measured.
        train_steps: Training steps before the measurement.

    Returns:
        For each label what `measurements.time_in_turn` returns, with "device", "peak_mib", and the
        differences "logits" and "gradient"; or the "error" of a variant that does not run, for
        want of memory for instance.
    """
    results, running = {}, []
    for spec in specs:
        try:
            memory = measurements.peak_memory(spec, folder)
        except RuntimeError as error:
            results[spec.key] = {"error": str(error)}
            continue
        running.append(spec)
        device = memory["device"]
        own = device["peak_mib"]
        peak = memory["peak_mib"] if own is None else own
        results[spec.key] = {"device": device["name"], "peak_mib": peak}
    if not running:
        return results
    pairs = measurements.check_agreement(running, folder, running[0].tolerance)
    for pair in pairs:
        if pair["first"] == running[0].key:
            row = results[pair["second"]]
            row["logits"], row["gradient"] = pair["logits"], pair["gradient"]
    for label, times in measurements.time_in_turn(running, folder, rounds, train_steps).items():
        results[label].update(times)
    return results


def report(results: dict) -> str:
    """Returns the tables as Markdown."""
    machine, steps = results["machine"], results["train_steps"] + results["rounds"]
    rows_of = results["batch_sizes"]
    devices = {
        row["device"] for rows in rows_of.values() for row in rows.values() if "device" in row
    }
    parts = [
        f"`{machine['command']}` on {', '.join(sorted(devices)) or 'no device'}; "
        f"{results['images']}, {results['gradient']}, rtol = atol = {results['tolerance']:g}, at "
        f"most {results['max_num_steps']} steps a solve. Medians of {results['rounds']} rounds in "
        f"turn after {results['train_steps']} training steps. Memory is the device's peak, on a "
        "CPU the process's above the idle one. Logits (largest absolute difference), gradient "
        f"(relative) and the mean of the last losses of {steps} steps are compared with the first "
        "row's; float32 is TF32 in the products of GPUs that have it.",
    ]
    header = ["variant", "step (s)", "images/s", "forward (s)", "F in step", "peak memory (MiB)"]
    header += ["first step (s)", "logits", "gradient", "loss"]
    for batch_size, rows in rows_of.items():
        lines = [_line(label, row, batch_size, steps) for label, row in rows.items()]
        parts.append(f"Batch {batch_size}:\n\n{reporting.markdown_table(header, lines)}")
        for label, row in rows.items():
            if "error" in row:
                parts.append(f"{label} does not run:\n\n```\n{row['error']}\n```")
    return "\n\n".join(parts)


def _line(label: str, row: dict, batch_size: int, steps: int) -> list:
    if "error" in row:
        return [label, *[None] * 9]
    trained = row["trained"]
    forward, backward = trained["step_evaluations"]
    return [
        label,
        trained["step"],
        round(batch_size / trained["step"]),
        trained["forward"],
        f"{forward} + {backward}",
        round(row["peak_mib"]),
        row["first_step"],
        row.get("logits"),
        row.get("gradient"),
        round(agreement.mean_loss(row["losses"], steps), 4),
    ]


if __name__ == "__main__":
    main()
