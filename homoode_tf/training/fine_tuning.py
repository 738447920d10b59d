# SPDX-License-Identifier: Apache-2.0
"""Starting from the weights of another run, and training only some parts."""

import itertools
from collections.abc import Collection

import keras

from homoode_tf.errors import InvalidValueError
from homoode_tf.models import ImageClassifier
from homoode_tf.models.saved import load
from homoode_tf.models.weights import path_or_pretrained, pretrained_names

# Variables that count or remember for one run; not every solver has them.
_OF_A_RUN = ("forward_nfe", "backward_nfe", "step_size", "residual")


def freeze(model: ImageClassifier, parts: Collection[str]) -> None:
    """Makes parts of a classifier untrainable.

    Args:
        model: A built classifier.
        parts: Some of `settings.PARTS`.

    Raises:
        InvalidValueError: If the model has no such part.
    """
    for name in parts:
        owner, attribute = {
            "layer": (model, "implicit"),
            "initial_point": (model.implicit, "initial_point"),
        }.get(name, (model, name))
        part = getattr(owner, attribute, None)
        if part is None:
            kind = type(model.implicit).__name__
            raise InvalidValueError(f"config.freeze names {name}, which {kind} does not have.")
        part.trainable = False


def start_from(model: ImageClassifier, source: str, frozen: Collection[str] = ()) -> str:
    """Gives a classifier the weights of another, part by part.

    The head starts anew where the classes are others: in number, or in their names where both
    models know these. Images are normalised as the new data ask for.

    Args:
        model: The classifier to be trained, built.
        source: What `models.saved.load` reads, the folder of a run or a `.keras` file; or the name
            of pretrained weights.
        frozen: The parts that will not be trained.

    Returns:
        What was done, a sentence.

    Raises:
        InvalidValueError: If there is no such model, a part does not fit, or the head starts anew
            and is frozen.
    """
    path = path_or_pretrained(source)
    try:
        given = load(path)
    except InvalidValueError as error:
        names = "" if path.exists() else f" Pretrained are: {', '.join(pretrained_names())}."
        raise InvalidValueError(f"config.init_from: {error}{names}") from error
    if not isinstance(given, ImageClassifier):
        raise InvalidValueError(
            f"config.init_from must be an ImageClassifier, as a run keeps it; {source} holds a "
            f"{type(given).__name__}."
        )
    parts = {"stem": "stem", "layer": "implicit", "head": "head"}
    anew = _classes_differ(given, model)
    if anew:
        del parts["head"]
        if "head" in frozen:
            raise InvalidValueError(
                f"config.freeze names head, which starts anew: the classes of {source} are others."
            )
    pairs = []
    for name, attribute in parts.items():
        ours, theirs = (_weights(getattr(owner, attribute)) for owner in (model, given))
        shapes, found = ([tuple(v.shape) for v in weights] for weights in (ours, theirs))
        if shapes != found:
            both = itertools.zip_longest(shapes, found)
            here, there = next(pair for pair in both if pair[0] != pair[1])
            raise InvalidValueError(
                f"config.init_from: the {name} of {source} does not fit: it has weights of shape "
                f"{there} where config.model and the data ask for {here}. Give the config.model of "
                "that run, and images of as many channels."
            )
        pairs += zip(ours, theirs, strict=True)
    for variable, value in pairs:
        variable.assign(value.numpy())
    head = "; the head starts anew, its classes are others" if anew else ""
    return f"Starting with the weights of {path}{head}."


def _classes_differ(one: ImageClassifier, other: ImageClassifier) -> bool:
    if one.head.num_classes != other.head.num_classes:
        return True
    known = one.class_names and other.class_names
    return bool(known) and one.class_names != other.class_names


def _weights(part: keras.layers.Layer) -> list[keras.Variable]:
    return [variable for variable in part.weights if variable.name not in _OF_A_RUN]
