# SPDX-License-Identifier: Apache-2.0
"""Studies trained Augmented Neural ODEs; writes `augmented.md` and its pictures.

    python -m scripts.augmented [RUN ...] [--data_dir DIR]

RUN is the folder of a finished run of an augmented_neural_ode; each is trained anew with its input
held, in the folder RUN-held, where that is not done yet.
One of them is of digits, of which the page speaks.
"""

import argparse
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from homoode_tf.layers import AugmentedNeuralODE
from scripts.augmented import figures, measure, page
from scripts.augmented.held import hold, train_held
from scripts.trained import Trained, open_run

_FOLLOWED, _DRAWN = 64, 40
# Of the page's own command.
_RUN = pathlib.Path("runs/augmented/augmented_neural_ode/seed0")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, draws, and writes the page."""
    parser = argparse.ArgumentParser(prog="python -m scripts.augmented", description=__doc__)
    parser.add_argument("runs", nargs="*", type=pathlib.Path, default=[_RUN], help="their folders")
    parser.add_argument("--data_dir", help="of the TFDS data sets")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("docs"))
    parser.add_argument("--train_images", type=int, default=10_000, help="for the probes, at most")
    parser.add_argument("--test_images", type=int, default=10_000, help="at most")
    options = parser.parse_args(arguments)
    folder = options.output / "results" / "augmented"
    folder.mkdir(parents=True, exist_ok=True)

    numbers: dict[str, Any] = {}
    for path in options.runs:
        run = open_run(path, options.data_dir)
        if not isinstance(run.model.implicit, AugmentedNeuralODE):
            parser.error(
                f"{path} is the run of a {type(run.model.implicit).__name__}, none of an "
                "AugmentedNeuralODE: train with --config.model.layer=augmented_neural_ode"
            )
        held_folder = path.with_name(f"{path.name}-held")
        train_held(run, held_folder, options.data_dir)
        held = open_run(held_folder, options.data_dir)
        numbers[run.config["dataset"]] = study(run, held, options)
        _draw_ways(folder, run, held)
    figures.movement(
        folder / "movement.png", {name: one["movement"] for name, one in numbers.items()}
    )
    read = {
        name: {layer: one["probe"] for layer, one in found["reading"].items()}
        for name, found in numbers.items()
    }
    figures.probes(folder / "probes.png", read)
    text = json.dumps(numbers, indent=1, allow_nan=False)
    (folder / "augmented.json").write_text(text + "\n", encoding="utf-8")
    # From the file's own numbers, as whoever renders the page again does.
    (options.output / "augmented.md").write_text(page.render(json.loads(text)), encoding="utf-8")


def study(run: Trained, held: Trained, options: argparse.Namespace) -> dict[str, Any]:
    """The numbers of one data set."""
    train, test = run.train(options.train_images), run.test(options.test_images)
    layer = run.model.implicit
    channels = run.config["model"]["channels"] - layer.extra_channels
    layers = {
        "as trained": (run.model, layer),
        "held afterwards": (run.model, hold(layer, channels)),
        "held from the first step": (held.model, held.model.implicit),
    }
    return {
        "epochs": run.config["epochs"],
        "seed": run.config["seed"],
        "channels": channels,
        "extra_channels": layer.extra_channels,
        "train_images": len(train[1]),
        "test_images": len(test[1]),
        "movement": measure.movement(measure.way(run, layer, test[0][:_FOLLOWED]), channels),
        "reading": {
            name: measure.reading(*one, channels, train, test) for name, one in layers.items()
        },
    }


def _draw_ways(folder: pathlib.Path, run: Trained, held: Trained) -> None:
    images, labels = run.test(_DRAWN)
    channels = run.config["model"]["channels"] - run.model.implicit.extra_channels
    name = run.config["dataset"]
    curve = measure.way(run, run.model.implicit, images)
    figures.planes(folder / f"ways_{name}.png", curve, labels, channels)


if __name__ == "__main__":
    main()
