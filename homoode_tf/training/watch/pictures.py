# SPDX-License-Identifier: Apache-2.0
"""Pictures of an evaluation for TensorBoard: some images with their classes, and the confusion."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

# Images beside each other, so that TensorBoard shows their captions in full size; pixels of an
# image, and of a line of its caption.
_COLUMNS, _TILE, _LINE = 4, 96, 14
_LARGEST_CELL, _LARGEST_MATRIX = 30, 720  # pixels
_RIGHT, _WRONG, _INK = "#2f7d4f", "#b3202c", "#222222"


def samples(
    images: np.ndarray, labels: np.ndarray, predictions: np.ndarray, *, names: Sequence[str]
) -> Image.Image:
    """Draws images, each above the class that it was given; of a wrong one the right class, too.

    Args:
        images: uint8 array (images, height, width, channels).
        labels: int array (images,).
        predictions: int array (images,).
        names: Names of the classes.
    """
    rows = -(-len(images) // _COLUMNS)
    page = Image.new("RGB", (_COLUMNS * _TILE, rows * (_TILE + 2 * _LINE)), "white")
    pen = ImageDraw.Draw(page)
    for number, (pixels, label, found) in enumerate(zip(images, labels, predictions, strict=True)):
        left, top = number % _COLUMNS * _TILE, number // _COLUMNS * (_TILE + 2 * _LINE)
        tile = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
        size = (_TILE - 4, _TILE - 4)
        page.paste(tile.convert("RGB").resize(size, Image.Resampling.NEAREST), (left, top))
        colour, under = (_RIGHT if label == found else _WRONG), top + _TILE - 3
        pen.text((left, under), names[found][:15], colour)
        if label != found:
            pen.text((left, under + _LINE), f"is {names[label]}"[:15], _INK)
    return page


def confusion_matrix(matrix: np.ndarray, names: Sequence[str]) -> Image.Image:
    """Draws how many images of the class of a row were given the class of a column.

    Args:
        matrix: Counts, array (classes, classes).
        names: Names of the classes.
    """
    count = len(names)
    cell = max(2, min(_LARGEST_CELL, _LARGEST_MATRIX // count))
    is_written = cell >= _LINE
    titles = [f"{number} {name}"[:20] for number, name in enumerate(names)]
    margin = 7 * max(map(len, titles)) if is_written else 0
    page = Image.new("RGB", (margin + cell * count, _LINE + cell * count), "white")
    pen = ImageDraw.Draw(page)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    for row, column in np.ndindex(count, count):
        share = shares[row, column]
        left, top = margin + cell * column, _LINE + cell * row
        shade = tuple(int(255 - share * (255 - dark)) for dark in (42, 111, 151))
        pen.rectangle((left, top, left + cell - 1, top + cell - 1), shade)
        if cell == _LARGEST_CELL and matrix[row, column]:
            ink = "white" if share > 0.5 else _INK
            pen.text((left + 3, top + 9), f"{matrix[row, column]:.0f}", ink)
    if is_written:
        for number, title in enumerate(titles):
            pen.text((2, _LINE + cell * number + cell // 2 - 6), title, _INK)
            pen.text((margin + cell * number + 3, 0), str(number), _INK)
    return page
