# SPDX-License-Identifier: Apache-2.0
"""The pictures of `docs/augmented.md`."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from homoode_tf.plot import Trajectory
from homoode_tf.report import style
from scripts.augmented.measure import PARTS, pooled, split

_COLOURS = {"x": style.GREY, "u": style.BLUE}


def movement(path: pathlib.Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Draws how far each part is from its start, one panel a data set."""
    with style.figure(path, 4.6 * len(found), 3.8) as figure:
        panels = figure.subplots(1, len(found), squeeze=False)[0]
        for axis, (name, measured) in zip(panels, found.items(), strict=True):
            for part, label in PARTS.items():
                distance = measured[part]["distance"]
                axis.plot(measured["times"], distance, color=_COLOURS[part], lw=2.0, label=label)
            axis.set(title=name, xlabel="time t", ylabel="distance from the start, in rms(x)")
            axis.set_ylim(bottom=0.0)
            axis.legend(loc="upper left")


def probes(path: pathlib.Path, found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Draws what linear probes read, by data set and layer: `found[set][layer][part]`."""
    with style.figure(path, 5.2 * len(found), 3.8) as figure:
        panels = figure.subplots(1, len(found), squeeze=False)[0]
        for axis, (name, layers) in zip(panels, found.items(), strict=True):
            width = 0.8 / len(layers)
            lowest = min(min(parts.values()) for parts in layers.values())
            for number, (layer, parts) in enumerate(layers.items()):
                places = np.arange(len(parts)) + (number - 0.5 * (len(layers) - 1)) * width
                values = 100.0 * np.array(list(parts.values()))
                axis.bar(places, values, width, label=layer, color=style.colours(10)[number])
            axis.set_xticks(range(len(parts)), list(parts))
            axis.set(title=name, ylabel="test accuracy of a linear probe (%)")
            axis.set_ylim(max(0.0, 100.0 * lowest - 5.0), 101.0)
        style.legend_above(panels[0])


def planes(path: pathlib.Path, curve: Trajectory, labels: np.ndarray, channels: int) -> None:
    """Draws both parts' ways, pooled, in the planes of their two principal axes."""
    with style.figure(path, 9.6, 4.6) as figure:
        for axis, (part, states) in zip(
            figure.subplots(1, 2), split(curve.states, channels).items(), strict=True
        ):
            flat = np.stack([pooled(each) for each in states])
            pca = PCA(n_components=2).fit(flat.reshape(-1, flat.shape[-1]))
            points = pca.transform(flat.reshape(-1, flat.shape[-1])).reshape(*flat.shape[:2], 2)
            colours = style.colours(int(labels.max()) + 1)
            for number, label in enumerate(labels):
                axis.plot(*points[:, number].T, color=colours[label], lw=1.0, alpha=0.7)
                axis.plot(*points[-1, number], "o", color=colours[label], ms=4)
            axis.plot(*points[0].T, "k.", ms=4, ls="none")
            share = pca.explained_variance_ratio_.sum()
            axis.set(title=f"{PARTS[part]} ({share:.0%} of its variance)", aspect="equal")
            axis.set(xlabel="first principal axis", ylabel="second principal axis")
            axis.set_adjustable("datalim")
        for label, colour in enumerate(colours):
            axis.plot([], [], "o", color=colour, label=str(label))
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
