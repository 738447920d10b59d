# SPDX-License-Identifier: Apache-2.0
"""Trained weights that ship with the package: NAME.keras, and its card NAME.json, beside this."""

import dataclasses
import hashlib
import os
import pathlib
from typing import Any

from homoode_tf import regular_file
from homoode_tf.checks import check_choice
from homoode_tf.errors import InvalidValueError
from homoode_tf.models.classifier import ImageClassifier
from homoode_tf.models.saved import load

__all__ = ["Card", "pretrained", "pretrained_card", "pretrained_names"]

FOLDER = pathlib.Path(__file__).resolve().parent
_LARGEST = 256 * 2**20
_MEND = "Install homoode_tf again, or check the file out anew"


@dataclasses.dataclass(frozen=True)
class Card:
    """What is known of pretrained weights.

    Attributes:
        dataset: What they were trained on, as `data.load` takes it.
        licence: Of those images.
        image_shape: (height, width, channels) of the images.
        class_names: Names of the classes, in the order of the logits.
        mean: Mean of each image channel, in units of pixels scaled to 0..1.
        std: Standard deviation of each image channel, in the same units.
        layer: Name of the implicit layer's class.
        parameters: Trainable parameters beside the initial point's.
        initial_point_parameters: Those of the initial point.
        recipe: The fields of the recipe that are not at their defaults, under dotted names.
        seed: Of the run.
        steps: Training steps of the run.
        precision: Of its convolutions; the weights are float32.
        commit: Of the code that trained them.
        measured: What `report.weights.measure` gives: accuracies, confusion and robustness.
        sha256: Of the file of weights.
    """

    dataset: str
    licence: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layer: str
    parameters: int
    initial_point_parameters: int
    recipe: dict[str, Any]
    seed: int
    steps: int
    precision: str
    commit: str
    measured: dict[str, Any]
    sha256: str


def pretrained_names() -> tuple[str, ...]:
    """Returns the names that `pretrained` takes.

    Example:
        >>> "digits" in pretrained_names()
        True
    """
    return tuple(sorted(path.stem for path in FOLDER.glob("*.keras")))


def pretrained_card(name: str) -> Card:
    """Returns what is known of pretrained weights: classes, normalisation, accuracy, licence, ...

    Raises:
        InvalidValueError: If there are none of that name, or their card is damaged.

    Example:
        >>> pretrained_card("digits").image_shape
        (8, 8, 1)
    """
    check_choice("pretrained weights", name, pretrained_names())
    path = FOLDER / f"{name}.json"
    try:
        values = regular_file.read_json(path)
        fields: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return Card(**fields)
    except (OSError, InvalidValueError, TypeError) as error:
        raise InvalidValueError(f"{path} is no card: {error}. {_MEND}.") from error


def pretrained(name: str) -> ImageClassifier:
    """Returns a trained classifier of those that ship with the package.

    Args:
        name: One of `pretrained_names()`.

    Returns:
        The model, float32. It takes images of 0..255, of the shape that its card says, and
        normalises them itself; `class_names` are in the order of its logits.

    Raises:
        InvalidValueError: If there are none of that name, or the file is not what its card says.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> model = pretrained("digits")
        >>> images = load_digits().images[:1, ..., None] * (255 / 16)
        >>> model.class_names[model(images).numpy().argmax()]
        '0'
    """
    card, path = pretrained_card(name), FOLDER / f"{name}.keras"
    try:
        found = hashlib.sha256(regular_file.read(path, _LARGEST)).hexdigest()
        if found != card.sha256:
            raise InvalidValueError("it is not what its card was written for")
    except (OSError, InvalidValueError) as error:
        raise InvalidValueError(f"{path} is damaged: {error}. {_MEND}.") from error
    return load(path)


def path_or_pretrained(source: str) -> pathlib.Path:
    """Returns a path as it is; of a name of pretrained weights, where no such path is, theirs."""
    path = pathlib.Path(source)
    if not os.path.lexists(path.expanduser()) and source in pretrained_names():
        return FOLDER / f"{source}.keras"
    return path
