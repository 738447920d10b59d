# SPDX-License-Identifier: Apache-2.0
"""Peak memory as a function of a number of steps or evaluations: measured, and how it grows."""

import pathlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import image_batches, measurements, peers, reference_model


def measure(
    specs: Mapping[str, Sequence[peers.PeerSpec]], batch_size: int
) -> dict[str, list[dict[str, Any]]]:
    """Measures the memory of training steps, each spec in a fresh process.

    Args:
        specs: For each name (a row of the table, a line of the figure) a spec a number.
        batch_size: Images in a batch, drawn at random.

    Returns:
        For each name and spec what `measurements.peak_memory` returns.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        image_batches.write_batches(folder, measurements.MEMORY_STEPS, batch_size, data_dir=None)
        np.savez(folder / "weights.npz", **reference_model.make_weights(seed=0))
        return {
            name: [_measure_one(name, spec, folder) for spec in specs_of_name]
            for name, specs_of_name in specs.items()
        }


def _measure_one(name: str, spec: peers.PeerSpec, folder: pathlib.Path) -> dict[str, Any]:
    result = measurements.peak_memory(spec, folder)
    line = f"[{name}, {spec.num_steps} steps] {result['peak_mib']:.0f} MiB"
    print(line, file=sys.stderr, flush=True)
    return result


def state_mib(batch_size: int) -> float:
    """Size of the state: float32, half the image's height and width."""
    height, width, _ = reference_model.IMAGE_SHAPE
    elements = batch_size * (height // 2) * (width // 2) * reference_model.CHANNELS
    return 4 * elements / 2**20


def growth(numbers: Sequence[int], peaks: Sequence[float], unit: float) -> float | None:
    """What each step beyond the first number added on average, in so many MiB.

    To two decimals: the rest is noise. One number shows no growth: None.

    Example: `growth([4, 8], [100.0, 120.0], 2.5)` is 2.0.
    """
    if len(numbers) < 2:
        return None
    added = (peaks[-1] - peaks[0]) / (numbers[-1] - numbers[0]) / unit
    return round(added, 2) + 0.0  # not -0.0
