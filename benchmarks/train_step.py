# SPDX-License-Identifier: Apache-2.0
"""How long do inference and a training step of the CIFAR-10 HomoODE take, beside peers?

    python -m benchmarks.train_step [--peers ours torch jax tfp] [--rounds 10] [--output DIR]

All peers have the same weights and see the same batches; each runs in its own process, with the
same threads, and they are timed in turn. First it is checked that they compute the same function
and the same gradients at a tight tolerance. Exit status 1 says that some do not.

Two of them say what can be had. `floor` is the step's convolutions and nothing else, as many as our
step of the same precision has counted. `torch/tuned` is the one step that our solver takes once it
knows its step size, by hand in PyTorch and compiled whole; it is compared with ours by one step.
"""

import argparse
import os
import pathlib
import sys
import tempfile

import numpy as np

from benchmarks import agreement, image_batches, measurements, peers, reference_model, reporting

_COMPARED_STEPS = 50
# What times are divided by: for each precision of a peer, another peer.
_OF_PRECISION = {
    "floor": {"float32": "floor/float32", "bfloat16": "floor/bfloat16"},
    "torch/tuned": {"float32": "torch/tuned", "bfloat16": "torch/tuned_bfloat16"},
}
_BASES = {
    base: dict.fromkeys(("float32", "bfloat16"), base) for base in ("torch/backprop", "tfp/adjoint")
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_step")
    parser.add_argument(
        "--peers",
        nargs="+",
        default=peers.FRAMEWORKS,
        help=f"frameworks {', '.join(peers.FRAMEWORKS)}, or one variant as in ours/backprop",
    )
    parser.add_argument("--rounds", type=int, default=10, help="times each quantity is measured")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--train_steps", type=int, default=200, help="before the second timing")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="rtol = atol when timing")
    parser.add_argument("--tight_tolerance", type=float, default=1e-6, help="when comparing")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--data_dir", help="TFDS folder with CIFAR-10; random images without it")
    parser.add_argument("--no_tuning", action="store_true", help="every peer's default settings")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/benchmarks"))
    arguments = parser.parse_args()
    try:
        # Floors come last, for they make the evaluations that others have counted.
        arguments.peers = sorted(peers.expand(arguments.peers), key=_is_floor)
    except ValueError as error:
        parser.error(str(error))
    if arguments.rounds < 1 or arguments.train_steps < arguments.rounds:
        parser.error("--rounds must be positive, and --train_steps at least as many")
    return arguments


def main() -> int:
    arguments = _arguments()
    peers.require([*peers.packages(arguments.peers), "matplotlib"])
    with tempfile.TemporaryDirectory() as folder:
        results = _measure(arguments, pathlib.Path(folder))
    text, agree = _report(results)
    reporting.write(arguments.output, "train_step", results, text)
    _draw(arguments.output / "train_step.png", results)
    return 0 if agree else 1


def _measure(arguments: argparse.Namespace, folder: pathlib.Path) -> dict:
    images = image_batches.write_batches(
        folder,
        arguments.train_steps + arguments.rounds,
        arguments.batch_size,
        arguments.data_dir,
    )
    np.savez(folder / "weights.npz", **reference_model.make_weights(seed=0))
    results = {
        "machine": reporting.machine(),
        "images": images,
        "batch_size": arguments.batch_size,
        "threads": arguments.threads,
        "tolerance": arguments.tolerance,
        "tight_tolerance": arguments.tight_tolerance,
        "train_steps": arguments.train_steps,
        "rounds": arguments.rounds,
        "tuning": {},
        "peers": {},
    }
    specs: list[peers.PeerSpec] = []
    chosen: dict[str, dict] = {}
    for name in arguments.peers:
        group, candidates = peers.tuned_with(name), peers.candidate_settings(name)
        spec = peers.PeerSpec(
            name, candidates[0], tolerance=arguments.tolerance, threads=arguments.threads
        )
        if group not in chosen:
            # What is fastest for a framework's first variant is taken for its others.
            chosen[group] = candidates[0]
            if not arguments.no_tuning:
                _say(f"settings of {name}")
                chosen[group], results["tuning"][name] = measurements.fastest(spec, folder)
        specs.append(spec.replace(settings=peers.settings_of(name, chosen[group])))
    _say(f"agreement at tolerance {arguments.tight_tolerance:g}")
    results["agreement"] = _check_agreement(specs, folder, arguments.tight_tolerance)
    _say("memory")
    memory = {spec.name: measurements.peak_memory(spec, folder)["peak_mib"] for spec in specs}
    _say(f"times, {arguments.rounds} rounds, and {arguments.train_steps} training steps")
    times = measurements.time_in_turn(specs, folder, arguments.rounds, arguments.train_steps)
    for spec in specs:
        results["peers"][spec.name] = {
            "precision": spec.precision,
            "settings": dict(spec.settings),
            "peak_mib": memory[spec.name],
            **times[spec.name],
        }
    return results


def _check_agreement(specs, folder: pathlib.Path, tolerance: float) -> list[dict]:
    """Compares those that solve to a tolerance in float32, and the others by one step."""
    compared = [spec for spec in specs if not _is_floor(spec.name)]
    one_step = [
        spec for spec in compared if spec.name in peers.ONE_STEP or spec.precision == "bfloat16"
    ]
    solving = [spec for spec in compared if spec not in one_step]
    rows = measurements.check_agreement(solving, folder, tolerance)
    return rows + measurements.check_one_step(one_step, folder)


def _is_floor(name: str) -> bool:
    return name.startswith("floor/")


def _report(results: dict) -> tuple[str, bool]:
    """Returns the report as Markdown, and whether all peers agree."""
    rows = results["peers"]
    machine = results["machine"]
    parts = [
        f"`{machine['command']}` on {machine['processor']} "
        f"({machine['bfloat16']}), {results['threads']} thread(s); batch "
        f"{results['batch_size']} of {results['images']}, rtol = atol = {results['tolerance']:g}, "
        f"medians of {results['rounds']} rounds in turn. The first ratios are to the floor and to "
        "torch/tuned of the same precision.",
        _agreement_lines(results),
    ]
    for stage, words in (
        ("fresh", f"The first {results['rounds']} training steps from fresh weights"),
        ("trained", f"After {results['train_steps']} training steps"),
    ):
        parts.append(f"{words}:\n\n{_time_table(rows, stage)}")
    parts.append(_peer_table(results))
    agree = all(row["agree"] for row in results["agreement"])
    agree &= all(spread <= agreement.LOSS_TOLERANCE for spread in _spreads(results).values())
    return "\n\n".join(parts), agree


def _time_table(rows: dict, stage: str) -> str:
    def bases(candidates):
        return {name: of for name, of in candidates.items() if rows.keys() & of.values()}

    def ratios(name, what, of_precision):
        base = rows.get(of_precision[rows[name]["precision"]])
        return base and rows[name][stage][what] / base[stage][what]

    first, others = bases(_OF_PRECISION), bases(_BASES)
    header = ["peer"]
    for what in ("step", "forward"):
        header += [f"{what} / {base}" for base in first]
        header += [f"{what} (s)", *(f"/ {base}" for base in others)]
    lines = []
    for name, row in rows.items():
        line = [name]
        for what in ("step", "forward"):
            line += [ratios(name, what, base) for base in first.values()]
            line += [row[stage][what], *(ratios(name, what, base) for base in others.values())]
        forward, backward = row[stage]["step_evaluations"]
        backward = "?" if backward is None else backward
        lines.append([*line, row[stage]["forward_evaluations"], f"{forward} + {backward}"])
    return reporting.markdown_table([*header, "F in forward", "F in step"], lines)


def _losses(results: dict) -> dict[str, float]:
    number = min(_COMPARED_STEPS, results["train_steps"])
    return {
        name: agreement.mean_loss(row["losses"], number)
        for name, row in results["peers"].items()
        if not _is_floor(name)
    }


def _spreads(results: dict) -> dict[str, float]:
    """Returns for each precision how far the losses of its peers differ."""
    losses: dict[str, dict] = {}
    for name, loss in _losses(results).items():
        losses.setdefault(results["peers"][name]["precision"], {})[name] = loss
    return {precision: agreement.loss_spread(of) for precision, of in losses.items()}


def _agreement_lines(results: dict) -> str:
    number = min(_COMPARED_STEPS, results["train_steps"])
    lines = []
    for words, half in (
        (f"At rtol = atol = {results['tight_tolerance']:g}, or by one step,", False),
        ("In bfloat16, by one step,", True),
    ):
        pairs = [row for row in results["agreement"] if row["bfloat16"] == half]
        if not pairs:
            continue
        logits = max(pairs, key=lambda row: row["logits"])
        gradient = max(pairs, key=lambda row: row["gradient"])
        lines.append(
            f"{words} the logits of any two peers differ "
            f"by at most {logits['logits']:.1e} ({logits['first']}, {logits['second']}), and "
            f"their weight gradients by {gradient['gradient']:.1e} relative "
            f"({gradient['first']}, {gradient['second']})."
        )
    for precision, spread in _spreads(results).items():
        lines.append(
            f"Training losses in {precision} around step {number} lie within {100 * spread:.2f} %."
        )
        if spread > agreement.LOSS_TOLERANCE:
            lines.append(f"LOSSES IN {precision} DO NOT AGREE.")
    for row in results["agreement"]:
        if not row["agree"]:
            lines.append(f"DO NOT AGREE: {row['first']} and {row['second']}.")
    return "\n".join(lines)


def _peer_table(results: dict) -> str:
    header = ["peer", "peak memory (MiB)", "first forward (s)", "first step (s)"]
    header += [f"loss at {min(_COMPARED_STEPS, results['train_steps'])}", "settings", "versions"]
    losses = _losses(results)
    rows = [
        [
            name,
            round(row["peak_mib"]),
            row["first_forward"],
            row["first_step"],
            losses.get(name) and f"{losses[name]:.4f}",
            ", ".join(f"{key}={value}" for key, value in row["settings"].items()),
            ", ".join(f"{key} {value}" for key, value in row["versions"].items()),
        ]
        for name, row in results["peers"].items()
    ]
    text = (
        "Peak memory is above the built, idle process, over three training steps of a fresh one; "
        "first calls include tracing and compiling:"
    )
    return f"{text}\n\n{reporting.markdown_table(header, rows)}"


def _draw(path: pathlib.Path, results: dict) -> None:
    from benchmarks import figures

    rows = results["peers"]
    figures.step_bars(
        path,
        {
            "training step (s)": {name: row["trained"]["step"] for name, row in rows.items()},
            "forward pass (s)": {name: row["trained"]["forward"] for name, row in rows.items()},
            "peak memory (MiB)": {name: row["peak_mib"] for name, row in rows.items()},
        },
    )


def _say(text: str) -> None:
    print(f"[{text}]", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
