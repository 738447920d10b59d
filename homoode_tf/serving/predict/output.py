# SPDX-License-Identifier: Apache-2.0
"""Answers as lines of text: a table for people, JSON lines for programs."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from homoode_tf.serving.terminal import printable


class Answer(NamedTuple):
    """What the model says of a file: one `guess` or more, the most probable first."""

    path: str
    guesses: Sequence[dict[str, Any]]


def guess(number: int, name: str | None, probability: float) -> dict[str, Any]:
    """Returns a class, its name where the model has names, and its probability."""
    named = {} if name is None else {"class_name": name}
    return {"class": number, **named, "probability": probability}


def json_lines(answers: Sequence[Answer], top: bool = False) -> Iterator[str]:
    """Yields one object a line: path, class, class_name where known, probability.

    Args:
        answers: What is said of some files.
        top: Whether to add the list `top` of all guesses.

    Example:
        >>> print(*json_lines([Answer("a.png", [guess(7, None, 0.98)])]))
        {"path": "a.png", "class": 7, "probability": 0.98}
    """
    for path, guesses in answers:
        every = {"top": guesses} if top else {}
        yield json.dumps({"path": path, **guesses[0], **every})


class Table:
    r"""Aligned columns under a header: path, class and probability, for each guess.

    Rows come batch by batch, so that the first can be read while the last are not known: each
    column is as wide as its widest cell so far.

    Example:
        >>> print(*Table().lines([Answer("a.png", [guess(7, "seven", 0.98)])]), sep="\n")
        path   class  probability
        a.png  seven  0.9800
    """

    def __init__(self):
        self._widths: list[int] = []

    def lines(self, answers: Sequence[Answer]) -> list[str]:
        """Returns the rows of some answers; the header before the first."""
        rows = [
            [printable(path), *(cell for found in guesses for cell in _cells(**found))]
            for path, guesses in answers
        ]
        if not rows:
            return []
        if not self._widths:
            rows.insert(0, ["path", *["class", "probability"] * len(answers[0].guesses)])
        longest = [max(map(len, column)) for column in zip(*rows, strict=True)]
        self._widths = list(map(max, longest, self._widths or longest))
        return ["  ".join(map(str.ljust, row, self._widths)).rstrip() for row in rows]


def _cells(probability: float, class_name: str | None = None, **number: int) -> tuple[str, str]:
    name = number["class"] if class_name is None else printable(class_name)
    return str(name), f"{probability:.4f}"
