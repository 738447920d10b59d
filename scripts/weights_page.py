# SPDX-License-Identifier: Apache-2.0
"""Writes the page of the weights that ship with the package, from their cards:

python -m scripts.weights_page > docs/weights.md
"""

import json
import pathlib

from homoode_tf import models
from homoode_tf.models import weights

PATH = pathlib.Path(__file__).parents[1] / "docs" / "weights.md"
_PAGE = """\
# Weights to take home

Trained classifiers ship with the package. This page is written from their cards by
`python -m scripts.weights_page > docs/weights.md`.

{table}

A model takes images of 0..255, uint8 or float, and normalises them itself:

```python
import homoode_tf
from sklearn.datasets import load_digits

model = homoode_tf.models.pretrained("digits")
images = load_digits().images[:5, ..., None] * (255 / 16)  # (5, 8, 8, 1)
print([model.class_names[number] for number in model.predict(images, verbose=0).argmax(-1)])
```

`homoode_tf.models.pretrained_names()` are the names, `pretrained_card(NAME)` says all that stands
below, mean and deviation too. On the command line, with the extra `train`,

```sh
python -m homoode_tf.predict --pretrained digits image.png       # which digit is it?
python -m homoode_tf.weights digits --export exported            # a SavedModel, for serving
python -m homoode_tf.weights digits --evaluate                   # is it still what its card says?
```

`--evaluate` without a name evaluates all; those of other data sets than the digits want these in
`--data_dir` or TFDS's own folder (`python -m homoode_tf.data mnist` fetches one).
`homoode_tf.convert` takes `--pretrained`, too. A run starts with such weights by
`--init_from=NAME` ([how](runs.md)), on images of any size and as many channels;
[an example](examples.md) does so with ten images of a class.

Each checkpoint was chosen on validation; the test split chose nothing. Accuracies are those of the
model as it is served, where no answer depends on the images beside it. Noise is Gaussian, of the
deviation given on pixels of 0..1. The weights are under the package's own licence.
{cards}"""
_CARD = """
## {name}

| | |
|---|---|
{facts}

Test images by their class (rows) and the one they were given (columns):

{confusion}
"""


def page() -> str:
    """Returns the page."""
    cards = {name: models.pretrained_card(name) for name in models.pretrained_names()}
    rows = [("name", "images", "parameters (+ z0)", "file", "test accuracy"), ("---",) * 5]
    for name, card in cards.items():
        size = (weights.FOLDER / f"{name}.keras").stat().st_size
        rows.append(
            (
                f"[`{name}`](#{name})",
                _shape(card),
                _parameters(card),
                f"{size / 1e6:.2f} MB",
                f"**{card.measured['test_accuracy']:.2%}**",
            )
        )
    sections = "".join(_section(name, card) for name, card in cards.items())
    return _PAGE.format(table=_rows(rows), cards=sections)


def _section(name: str, card: weights.Card) -> str:
    measured = card.measured
    noise = ", ".join(
        f"{value:.2%} at {deviation}" for deviation, value in measured["noise"].items()
    )
    recipe = ", ".join(f"`{field}={json.dumps(value)}`" for field, value in card.recipe.items())
    facts = [
        ("data", f"`{card.dataset}`, {_shape(card)}"),
        ("licence of the data", card.licence),
        ("model", f"{card.layer}, {_parameters(card)} parameters"),
        ("recipe, where it is not the default", recipe),
        ("seed, steps, precision", f"{card.seed}, {card.steps:,}, {card.precision}"),
        ("commit", f"`{card.commit}`"),
        ("mean, deviation", f"{_numbers(card.mean)}; {_numbers(card.std)}"),
        *(
            (
                f"{split} accuracy, loss",
                f"{measured[f'{split}_accuracy']:.2%}, "
                f"{measured[f'{split}_loss']:.4f} ({measured[f'{split}_examples']:,} images)",
            )
            for split in ("validation", "test")
        ),
        ("test accuracy under noise", noise),
    ]
    names = card.class_names or tuple(map(str, range(len(measured["confusion"]))))
    confusion = [("", *names), ("---", *["---:"] * len(names))]
    confusion += [
        (f"**{c}**", *map(str, row)) for c, row in zip(names, measured["confusion"], strict=True)
    ]
    return _CARD.format(name=name, facts=_rows(facts), confusion=_rows(confusion))


def _shape(card: weights.Card) -> str:
    return "x".join(map(str, card.image_shape))


def _parameters(card: weights.Card) -> str:
    return f"{card.parameters:,} (+ {card.initial_point_parameters})"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _rows(rows: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    print(page(), end="")
