# SPDX-License-Identifier: Apache-2.0
"""From the numbers to the page: `page.md` with every number put in."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.reporting import markdown_table

_TEMPLATE = pathlib.Path(__file__).with_name("page.md")
_PROBED = ("x(0)", "x(T)", "u(T)", "both")
_HEAD = ("whole", "without x", "without u")


def render(numbers: Mapping[str, Any]) -> str:
    """The page's text.

    Args:
        numbers: What `augmented.json` holds, digits among it.
    """
    text = _TEMPLATE.read_text(encoding="utf-8")
    heads = {name: found["head"] for name, found in numbers["digits"]["reading"].items()}
    return text.format(
        trained=heads["as trained"],
        after=heads["held afterwards"],
        first=heads["held from the first step"],
        trained_table=_trained(numbers),
        movement_table=_movement(numbers),
        probe_table=_reading(numbers, "probe", _PROBED),
        head_table=_reading(numbers, "head", _HEAD),
        ways="\n\n".join(f"![{name}](results/augmented/ways_{name}.png)" for name in numbers),
    )


def _trained(numbers: Mapping[str, Any]) -> str:
    fields = ("epochs", "seed", "channels", "extra_channels", "train_images", "test_images")
    header = [
        "data",
        "epochs",
        "seed",
        "channels of x",
        "of u",
        "images of the probes",
        "judged on",
    ]
    return markdown_table(
        header, [[name, *(str(one[f]) for f in fields)] for name, one in numbers.items()]
    )


def _movement(numbers: Mapping[str, Any]) -> str:
    header = ["data", "part", "distance at T / 2", "distance at T", "length of the way"]
    rows = []
    for name, one in numbers.items():
        for part, label in (("x", "x-part"), ("u", "augmented part")):
            moved = one["movement"][part]
            middle = moved["distance"][len(moved["distance"]) // 2]
            row = [f"{value:.2f}" for value in (middle, moved["distance"][-1], moved["length"])]
            rows.append([name, label, *row])
    return markdown_table(header, rows)


def _reading(numbers: Mapping[str, Any], kind: str, columns: tuple[str, ...]) -> str:
    rows = []
    for name, layer, one in _layers(numbers):
        accuracies = [f"{100.0 * one[kind][column]:.2f}" for column in columns]
        rows.append([name, layer, *accuracies, f"{one['evaluations']:.1f}"])
    return markdown_table(["data", "x-part", *columns, "evaluations of F"], rows)


def _layers(numbers: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name, one in numbers.items():
        for layer, found in one["reading"].items():
            yield name, layer, found
