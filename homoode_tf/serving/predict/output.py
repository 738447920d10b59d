# SPDX-License-Identifier: Apache-2.0
"""Answers as lines of text: a table for people, JSON lines for programs."""

import itertools
import json
from collections.abc import Sequence
from typing import NamedTuple

from homoode_tf.serving.terminal import printable


class Guess(NamedTuple):
    """A class, its name where the model has names, and its probability."""

    number: int
    name: str | None
    probability: float


class Answer(NamedTuple):
    """What the model says of a file: one guess or more, the most probable first."""

    path: str
    guesses: Sequence[Guess]


class Table:
    r"""Aligned columns under a header: path, class and probability, for each guess.

    Rows come batch by batch, so that the first can be read while the last are not known: each
    column is as wide as its widest cell so far.

    Example:
        >>> print(*Table().lines([Answer("a.png", [Guess(7, "seven", 0.98)])]), sep="\n")
        path   class  probability
        a.png  seven  0.9800
    """

    def __init__(self):
        self._widths: list[int] = []

    def lines(self, answers: Sequence[Answer]) -> list[str]:
        """Returns the rows of some answers; the header before the first."""
        rows = [
            [printable(path), *itertools.chain(*map(_cells, guesses))] for path, guesses in answers
        ]
        if not rows:
            return []
        if not self._widths:
            rows.insert(0, ["path", *["class", "probability"] * len(answers[0].guesses)])
        longest = [max(map(len, column)) for column in zip(*rows, strict=True)]
        self._widths = list(map(max, longest, self._widths or longest))
        return ["  ".join(map(str.ljust, row, self._widths)).rstrip() for row in rows]


class JsonLines:
    """One object a line: path, class, class_name where known, probability.

    Args:
        top: Whether to add the list `top` of all guesses, each with class, class_name where known,
            and probability.

    Example:
        >>> print(*JsonLines().lines([Answer("a.png", [Guess(7, None, 0.98)])]))
        {"path": "a.png", "class": 7, "probability": 0.98}
    """

    def __init__(self, top: bool = False):
        self._top = top

    def lines(self, answers: Sequence[Answer]) -> list[str]:
        """Returns the lines of some answers."""
        return [json.dumps(self._object(*answer)) for answer in answers]

    def _object(self, path: str, guesses: Sequence[Guess]) -> dict:
        top = [_fields(guess) for guess in guesses]
        return {"path": path, **top[0], **({"top": top} if self._top else {})}


def _cells(guess: Guess) -> tuple[str, str]:
    name = str(guess.number) if guess.name is None else printable(guess.name)
    return name, f"{guess.probability:.4f}"


def _fields(guess: Guess) -> dict:
    name = {} if guess.name is None else {"class_name": guess.name}
    return {"class": guess.number, **name, "probability": guess.probability}
