# SPDX-License-Identifier: Apache-2.0
"""What is asked of the peers: best settings, agreement, memory, times in turn."""

import contextlib
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks import agreement, peers
from benchmarks.peer_process import PeerProcess

_TUNING_STEPS = 3
MEMORY_STEPS = 3
# A tight tolerance takes many steps; these are enough to compare.
_COMPARED_IMAGES = 16
# A floor makes as many evaluations as the peer above it has counted in the same round.
_ABOVE = {"floor/float32": "ours/backprop", "floor/bfloat16": "ours/bfloat16"}


def fastest(
    spec: peers.PeerSpec, folder: pathlib.Path
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Chooses a peer's settings by the time of one forward pass and one training step.

    Args:
        spec: The peer, or one of its framework, with any settings.
        folder: Where weights and batches are.

    Returns:
        The best settings, and what was measured. Settings that do not run (say, without a
        compiler) are passed over, with the reason in what was measured.

    Raises:
        RuntimeError: If the peer runs with no settings at all.
    """
    tried, errors = [], []
    for settings in peers.candidate_settings(spec.name):
        complete = peers.settings_of(spec.name, settings)
        try:
            with PeerProcess(spec.replace(settings=complete), folder) as peer:
                peer.forward(0), peer.step(0)
                forwards = [peer.forward(0)["seconds"] for _ in range(_TUNING_STEPS)]
                steps = [peer.step(k)["seconds"] for k in range(_TUNING_STEPS)]
        except RuntimeError as error:
            errors.append(str(error))
            tried.append({"settings": settings, "error": str(error)})
            continue
        tried.append({"settings": settings, "forward": min(forwards), "step": min(steps)})
    worked = [row for row in tried if "step" in row]
    if not worked:
        raise RuntimeError("\n".join(errors))
    best = min(worked, key=lambda row: row["forward"] + row["step"])
    return best["settings"], tried


def check_agreement(
    specs: Sequence[peers.PeerSpec], folder: pathlib.Path, tolerance: float
) -> list[dict]:
    """Compares logits and gradients of every two peers, solved to a tight tolerance."""
    results = {}
    for spec in specs:
        with PeerProcess(spec.replace(tolerance=tolerance), folder) as peer:
            results[spec.key] = peer.compare(0, _COMPARED_IMAGES)
    half = [spec.key for spec in specs if spec.precision == "bfloat16"]
    return agreement.compare(results, half)


def check_one_step(specs: Sequence[peers.PeerSpec], folder: pathlib.Path) -> list[dict]:
    """Compares peers with ours, and with each other, where all take one equal step of dopri5."""
    if not specs:
        return []
    ours = specs[0].replace(
        name="ours/backprop",
        label="ours, one step",
        settings=peers.candidate_settings("ours")[0],
    )
    steps = [spec.replace(num_steps=1, method="dopri5") for spec in (ours, *specs)]
    return check_agreement(steps, folder, ours.tolerance)


def peak_memory(spec: peers.PeerSpec, folder: pathlib.Path) -> dict[str, Any]:
    """Measures what training needs above the built but idle peer, in a fresh process.

    Args:
        spec: The peer.
        folder: Where weights and batches are, at least `MEMORY_STEPS` of these.

    Returns:
        "peak_mib", what tracing and compiling need included, "evaluations" in the last training
        step, [forward, backward], and "device", where the peer says so: its "name", and "peak_mib"
        where it has a memory of its own.
    """
    with PeerProcess(spec, folder) as peer:
        for number in range(MEMORY_STEPS):
            answer = peer.step(number)
        report = peer.report()
    return {
        "peak_mib": report["peak_mib"] - report["idle_mib"],
        "evaluations": answer["evaluations"],
        "device": report["device"],
    }


def time_in_turn(
    specs: Sequence[peers.PeerSpec], folder: pathlib.Path, rounds: int, train_steps: int
) -> dict[str, dict]:
    """Times forward passes and training steps, one of each peer in turn.

    Args:
        specs: The peers, floors after those above them.
        folder: Where weights and batches are, at least `train_steps + rounds` of these.
        rounds: How many times each quantity is measured.
        train_steps: Training steps between fresh and trained weights.

    Returns:
        For each peer: "first_forward" and "first_step" in seconds (tracing and compiling
        included), "losses" (None of a floor) and "step_seconds" of all steps, "versions", and under
        "fresh" and "trained" the medians "forward" and "step" in seconds with "forward_evaluations"
        and "step_evaluations", [forward, backward].
    """
    results: dict[str, dict] = {spec.key: {} for spec in specs}
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(PeerProcess(spec, folder)) for spec in specs]
        for peer in running:
            result = results[peer.spec.key]
            result["first_forward"] = peer.forward(0)["seconds"]
            result["first_step"] = peer.step(0)["seconds"]
            peer.step(0)
            peer.reset()
            result["losses"], result["step_seconds"] = [], []
            result["versions"] = peer.report()["versions"]
        # Forward passes come after training steps: what a layer remembers from training to start a
        # solve with is part of it.
        fresh_steps = _in_turn(running, rounds, "step", 0)
        fresh_forwards = _in_turn(running, rounds, "forward", 0)
        more = _in_turn(running, train_steps - rounds, "step", rounds)
        trained_steps = _in_turn(running, rounds, "step", train_steps)
        trained_forwards = _in_turn(running, rounds, "forward", 0)
    for name, result in results.items():
        result["fresh"] = _medians(fresh_forwards[name], fresh_steps[name])
        result["trained"] = _medians(trained_forwards[name], trained_steps[name])
        for answer in (*fresh_steps[name], *more[name], *trained_steps[name]):
            result["losses"].append(answer["loss"])
            result["step_seconds"].append(answer["seconds"])
    return results


def _in_turn(running, rounds, what, first_batch):
    """Asks every peer once a round; A B C D A B C D ..."""
    answers = {peer.spec.key: [] for peer in running}
    for number in range(rounds):
        for peer in running:
            above = answers.get(_ABOVE.get(peer.spec.name))
            more = {"evaluations": above[-1]["evaluations"]} if above else {}
            answers[peer.spec.key].append(getattr(peer, what)(first_batch + number, **more))
    return answers


def _medians(forwards, steps):
    return {
        "forward": statistics.median(answer["seconds"] for answer in forwards),
        "step": statistics.median(answer["seconds"] for answer in steps),
        "forward_evaluations": forwards[-1]["evaluations"][0],
        "step_evaluations": steps[-1]["evaluations"],
        "forward_seconds": [answer["seconds"] for answer in forwards],
        "step_seconds": [answer["seconds"] for answer in steps],
    }
