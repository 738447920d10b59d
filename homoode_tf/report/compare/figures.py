# SPDX-License-Identifier: Apache-2.0
"""The figures of a comparison."""

import pathlib
from collections.abc import Mapping
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot

_PANELS = (
    ("validation_accuracy", "validation accuracy (%)", 100.0),
    ("nfe_forward", "evaluations of F, forward", 1.0),
    ("nfe_backward", "evaluations of F, backward", 1.0),
)


def curves(path: pathlib.Path, summary: Mapping[str, Any]) -> None:
    """Draws validation accuracy and evaluations of F against the epoch, means over seeds.

    Args:
        path: The file to write.
        summary: What `summarise` returns.
    """
    figure, axes = pyplot.subplots(1, len(_PANELS), figsize=(4.2 * len(_PANELS), 3.6))
    for axis, (field, label, factor) in zip(axes, _PANELS, strict=True):
        for name, row in summary["models"].items():
            epochs, values = _by_epoch(row["curves"], field)
            if not epochs:
                continue
            mean = factor * np.array([np.mean(v) for v in values])
            spread = factor * np.array([np.std(v) for v in values])
            (line,) = axis.plot(epochs, mean, label=name)
            axis.fill_between(
                epochs, mean - spread, mean + spread, color=line.get_color(), alpha=0.15
            )
        axis.set_xlabel("epoch")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    if axes[0].lines:
        axes[0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _by_epoch(seeds, field) -> tuple[list[int], list[list[float]]]:
    """For each epoch the values of all seeds; within an epoch a seed's values are averaged."""
    found: dict[int, dict[int, list[float]]] = {}
    for number, lines in enumerate(seeds):
        for line in lines:
            if field in line:
                by_seed = found.setdefault(line["epoch"], {})
                by_seed.setdefault(number, []).append(line[field])
    epochs = sorted(found)
    return epochs, [[float(np.mean(v)) for v in found[epoch].values()] for epoch in epochs]
