# SPDX-License-Identifier: Apache-2.0
"""Measures, draws, and writes the page."""

import argparse
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from homoode_tf.layers import HomoODE
from homoode_tf.plot import follow
from scripts.two_sides import figures, learned, measure, page
from scripts.two_sides.problem import RotatingMap, draw_conditions, sharp_map, small_map

_DRAWN_CONDITIONS, _DRAWN_SEED = 8, 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes `two_sides.md` and `results/two_sides/` into the output folder."""
    parser = argparse.ArgumentParser(prog="python -m scripts.two_sides", description=__doc__)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("docs"))
    parser.add_argument("--epochs", type=int, default=learned.EPOCHS, help="of HomoODE's training")
    options = parser.parse_args(arguments)
    folder = options.output / "results" / "two_sides"
    folder.mkdir(parents=True, exist_ok=True)

    g = small_map()
    ways = {tolerance: measure.all_ways(g, tolerance) for tolerance in measure.TOLERANCES}
    layer = learned.train(g.factor, options.epochs)
    solve = learned.follow_one(learned.in_float64(layer), g.condition)
    sharp = sharp_map()
    sharp_ways = measure.all_ways(sharp, measure.SHARP_TOLERANCE)
    numbers = {
        "problem": measure.problem(g),
        "ways": {
            f"{tolerance:.0e}": {name: measure.cost(way, g) for name, way in found.items()}
            for tolerance, found in ways.items()
        },
        "homoode": {"epochs": options.epochs, **measure.homoode(layer, g)},
        "sharp": measure.sharp(sharp, sharp_ways),
        "conv_dynamics_speed": measure.speed_of_fresh_conv_dynamics(),
    }

    figures.ways(folder / "ways.png", ways[1e-6], solve.curve, solve.steps, g.equilibrium())
    figures.work(folder / "work.png", _work(numbers), measure.TOLERANCES)
    _draw_conditions(folder / "conditions.png", layer, g.factor)
    path = sharp_ways["fixed-point homotopy"]
    turns = measure.turning_points(path)
    figures.turning(folder / "turning.png", sharp_ways, turns, sharp.equilibrium())

    text = json.dumps(numbers, indent=1, allow_nan=False)
    (folder / "two_sides.json").write_text(text + "\n", encoding="utf-8")
    # From the file's own numbers, as whoever renders the page again does.
    rendered = page.render(json.loads(text))
    (options.output / "two_sides.md").write_text(rendered, encoding="utf-8")
    print(rendered)


def _work(numbers: Mapping[str, Any]) -> dict[str, list[tuple[int, float]]]:
    """Work and distance by name, one pair a tolerance."""
    names = next(iter(numbers["ways"].values()))
    curves = {
        name: [(at[name]["work"], at[name]["distance"]) for at in numbers["ways"].values()]
        for name in names
    }
    costs = numbers["homoode"]["costs"].values()
    curves["HomoODE"] = [(at["evaluations"], at["distance"]) for at in costs]
    return curves


def _draw_conditions(path: pathlib.Path, layer: HomoODE, factor: float) -> None:
    """Follows HomoODE to t = 2 for conditions that it has not seen."""
    conditions = draw_conditions(_DRAWN_CONDITIONS, _DRAWN_SEED)
    twice = learned.in_float64(layer, 1e-8, final_time=2.0)
    solved = follow(twice, tf.constant(conditions), num_times=201).curve
    equilibria = np.stack([RotatingMap(factor, x).equilibrium() for x in conditions])
    figures.conditions(path, solved, equilibria)


if __name__ == "__main__":
    main()
