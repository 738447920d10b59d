# SPDX-License-Identifier: Apache-2.0
"""The figure of a comparison: how its members learnt, and what that took."""

import collections
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from homoode_tf.report import style

_PANELS = (
    ("validation_accuracy", "accuracy on validation", "%", 100.0),
    ("nfe_forward", "evaluations of F, forward", "a step", 1.0),
    ("nfe_backward", "evaluations of F, backward", "a step", 1.0),
)
# Up to here each epoch is a point that one may want to see; a single one is no line at all.
_FEW_EPOCHS = 20
_WORDS = {"ode": "ODE", "deq": "DEQ", "homoode": "HomoODE", "resnet": "ResNet", "neural": "Neural"}


def draw(path: pathlib.Path, results: Mapping[str, Any]) -> None:
    """Draws what `summarise` returns against the epoch, as means over seeds, to a file."""
    with style.figure(path, 4.2 * len(_PANELS), 4.2) as figure:
        axes = figure.subplots(1, len(_PANELS))
        for axis, (field, title, unit, factor) in zip(axes, _PANELS, strict=True):
            axis.set(title=f"{results['dataset']}: {title}", xlabel="epoch", ylabel=unit)
            for name, row in results["models"].items():
                by_epoch = _by_epoch(row["curves"], field, factor)
                if by_epoch:
                    line = {"label": readable(name)}
                    line["marker"] = "o" if len(by_epoch) <= _FEW_EPOCHS else ""
                    style.mean_and_spread(axis, list(by_epoch), list(by_epoch.values()), **line)
            axis.xaxis.get_major_locator().set_params(integer=True)
        if axes[0].lines:
            style.legend_above(axes[0])


def readable(name: str) -> str:
    """Returns the name of a model as a reader writes it.

    Example:
        >>> readable("homoode_fixed_z0"), readable("neural_ode_no_dropout")
        ('HomoODE fixed z0', 'Neural ODE no dropout')
    """
    words = [_WORDS.get(word, word) for word in name.split("_")]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def _by_epoch(seeds, field, factor) -> dict[int, list[float]]:
    """For each epoch the values of all seeds; within an epoch a seed's values are averaged."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for seed, lines in enumerate(seeds):
        for line in lines:
            if line.get(field) is not None:
                found[line["epoch"]][seed].append(factor * line[field])
    return {epoch: [np.mean(v) for v in found[epoch].values()] for epoch in sorted(found)}
