# SPDX-License-Identifier: Apache-2.0
"""The figure of a comparison: how its members learnt, and what that took."""

import collections
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from homoode_tf.report import style

_PANELS = (
    ("validation_accuracy", "validation accuracy (%)", 100.0),
    ("nfe_forward", "evaluations of F, forward", 1.0),
    ("nfe_backward", "evaluations of F, backward", 1.0),
)


def draw(path: pathlib.Path, results: Mapping[str, Any]) -> None:
    """Draws what `summarise` returns against the epoch, as means over seeds, to a file."""
    with style.figure(path, 4.2 * len(_PANELS), 3.6) as figure:
        axes = figure.subplots(1, len(_PANELS))
        for axis, (field, label, factor) in zip(axes, _PANELS, strict=True):
            axis.set(xlabel="epoch", ylabel=label)
            for name, row in results["models"].items():
                by_epoch = _by_epoch(row["curves"], field, factor)
                if by_epoch:
                    style.mean_and_spread(axis, list(by_epoch), list(by_epoch.values()), label=name)
        if axes[0].lines:
            axes[0].legend()


def _by_epoch(seeds, field, factor) -> dict[int, list[float]]:
    """For each epoch the values of all seeds; within an epoch a seed's values are averaged."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for seed, lines in enumerate(seeds):
        for line in lines:
            if field in line:
                found[line["epoch"]][seed].append(factor * line[field])
    return {epoch: [np.mean(v) for v in found[epoch].values()] for epoch in sorted(found)}
