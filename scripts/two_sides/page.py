# SPDX-License-Identifier: Apache-2.0
"""From the numbers to the page: `page.md` with every number put in."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.two_sides.measure import PRINTED

_TEMPLATE = pathlib.Path(__file__).with_name("page.md")


def render(numbers: Mapping[str, Any]) -> str:
    """The page's text.

    Args:
        numbers: What `two_sides.json` holds.
    """
    text = _TEMPLATE.read_text(encoding="utf-8")
    return text.format(costs_table=costs(numbers), sharp_table=sharp(numbers), **numbers)


def costs(numbers: Mapping[str, Any]) -> str:
    """The table of costs and distances at three tolerances, HomoODE last."""
    header = ["way", *(f"cost at {t:.0e}" for t in PRINTED)]
    header += [*(f"distance at {t:.0e}" for t in PRINTED), "length"]
    rows = []
    for name in next(iter(numbers["ways"].values())):
        rows.append(_costs_row(name, {key: at[name] for key, at in numbers["ways"].items()}))
    rows.append(_costs_row("HomoODE (evaluations of F)", numbers["homoode"]["costs"]))
    return _table(header, rows)


def sharp(numbers: Mapping[str, Any]) -> str:
    """The table of what arrives where the equilibrium repels."""
    rows = [
        [name, "yes" if way["arrived"] else "no", _cost(way), f"{way['residual']:.1e}"]
        for name, way in numbers["sharp"]["ways"].items()
    ]
    return _table(["way", "arrives", "cost", "residual at its end"], rows)


def _costs_row(name: str, by_tolerance: Mapping[str, Mapping[str, Any]]) -> list[str]:
    printed = [by_tolerance[f"{tolerance:.0e}"] for tolerance in PRINTED]
    distances = [f"{way['distance']:.1e}" for way in printed]
    return [name, *map(_cost, printed), *distances, f"{printed[-1]['length']:.2f}"]


def _cost(way: Mapping[str, Any]) -> str:
    """Evaluations, and the Jacobian's matrices (J) or products (p)."""
    parts = [f"{way['evaluations']:,}"]
    for key, letter in (("jacobians", "J"), ("products", "p")):
        if way.get(key):
            parts.append(f"{way[key]:,} {letter}")
    return " + ".join(parts)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])
