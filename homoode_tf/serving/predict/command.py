# SPDX-License-Identifier: Apache-2.0
"""Classifies image files: `python -m homoode_tf.predict --saved_model DIR image.png folder/ ...`.

`--pretrained NAME` instead of `--saved_model DIR` asks a model that ships with the package.

Answers go to the standard output, in the order of the paths, batch by batch. A file that gives no
image is reported on the standard error as `path: reason`, and the rest is done. Ends with status 0
if every file was classified, 1 if one was not, and 2 if nothing could be done: a wrong flag, or no
SavedModel of this project in DIR.
"""

import argparse
import contextlib
import functools
import itertools
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TextIO

import numpy as np
import tqdm

from homoode_tf import empty_flags
from homoode_tf.checks import check_integer
from homoode_tf.serving import pretrained, terminal
from homoode_tf.serving.predict import images, output
from homoode_tf.serving.predict.served_model import PredictionError, Predictions, ServedModel

_MODULE = "homoode_tf.predict"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parse(arguments)
    return terminal.run(_MODULE, lambda: _classify(options))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = terminal.parser(_MODULE, "Classifies image files with an exported model.")
    add, fits, backgrounds = parser.add_argument, images.FITS, images.BACKGROUNDS
    path = "a PNG, JPEG, WebP, BMP or GIF file, or a folder, which is searched to any depth"
    add("paths", nargs="+", metavar="PATH", help=path)
    output_format = "a table, or one JSON object a line (default: %(default)s)"
    add("--format", choices=("table", "jsonl"), default="table", help=output_format)
    add("--top", type=int, metavar="K", help="give the K most probable classes (default: 1)")
    fit = (
        "what happens to images of other proportions than the model's: the edges are cut off, or "
        "everything is kept, squeezed (default: %(default)s)"
    )
    add("--fit", choices=fits, default=fits[0], help=fit)
    background = "what transparent parts show (default: %(default)s)"
    add("--background", choices=backgrounds, default=backgrounds[0], help=background)
    batch_size = "images at a time (default: %(default)s)"
    add("--batch_size", type=int, default=64, metavar="N", help=batch_size)
    return empty_flags.parse(parser, arguments)


def _classify(options: argparse.Namespace) -> int:
    for name in ("batch_size", "top"):
        if (value := getattr(options, name)) is not None:
            check_integer(f"--{name}", value, at_least=1)
    # A file's name may hold letters that the terminal's encoding lacks.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")
    with pretrained.saved_model(options) as directory:
        run = _Run(ServedModel(directory), options)
    with warnings.catch_warnings():
        # Of Pillow, about files that it reads all the same.
        warnings.simplefilter("ignore")
        run.classify_all()
    return 0 if run.complete else 1


class _Run:
    """One run over all paths; in memory is one batch at a time."""

    def __init__(self, model: ServedModel, options: argparse.Namespace):
        self._model = model
        self._options = options
        self._lines: Callable[[list[output.Answer]], Iterable[str]]
        if options.format == "table":
            self._lines = output.Table().lines
        else:
            self._lines = functools.partial(output.json_lines, top=options.top is not None)
        self.complete = True

    def classify_all(self) -> None:
        found = images.find(self._options.paths)
        with self._progress() as progress:
            while batch := list(itertools.islice(found, self._options.batch_size)):
                paths, arrays = self._read(batch)
                _write(sys.stdout, self._lines(list(self._ask(paths, arrays))))
                progress.update(len(batch))

    def _progress(self) -> tqdm.tqdm:
        """A bar on the standard error, where that is a terminal and there are many files."""
        count = 0
        if sys.stderr.isatty():
            # A second search costs less than a list of all files would.
            count = sum(1 for _ in images.find(self._options.paths))
        return tqdm.tqdm(
            total=count,
            file=sys.stderr,
            unit="file",
            dynamic_ncols=True,
            leave=False,
            disable=count <= self._options.batch_size,
        )

    def _read(self, batch: Sequence[str | images.Unreadable]) -> tuple[list[str], list[np.ndarray]]:
        paths, arrays = [], []
        for found in batch:
            if isinstance(found, images.Unreadable):
                self._report(*found)
                continue
            how = (self._model.image_shape, self._options.fit, self._options.background)
            try:
                arrays.append(images.read(found, *how))
            except images.ImageError as error:
                self._report(found, str(error))
            else:
                paths.append(found)
        return paths, arrays

    def _ask(self, paths: list[str], arrays: list[np.ndarray]) -> Iterator[output.Answer]:
        if not paths:
            return
        try:
            predictions = self._model.predict(np.stack(arrays))
        except PredictionError as error:
            if len(paths) == 1:
                self._report(paths[0], f"the model failed: {error}")
                return
            # Alone, so that one image on which the model fails does not take others along.
            for path, array in zip(paths, arrays, strict=True):
                yield from self._ask([path], [array])
            return
        yield from self._answers(paths, predictions)

    def _answers(self, paths: list[str], predictions: Predictions) -> Iterator[output.Answer]:
        names = self._model.class_names
        # TensorFlow's softmax of NaN can be 0.
        sound = ~np.isnan(predictions.logits + predictions.probabilities).any(axis=-1)
        top = predictions.most_probable(self._options.top or 1)
        for path, is_sound, classes, probabilities in zip(paths, sound, *top, strict=True):
            if not is_sound:
                self._report(path, "the model's answer is not a number")
                continue
            guesses = [
                output.guess(int(number), names[number] if names else None, float(probability))
                for number, probability in zip(classes, probabilities, strict=True)
            ]
            yield output.Answer(path, guesses)

    def _report(self, path: str, reason: str) -> None:
        self.complete = False
        _write(sys.stderr, [f"{terminal.printable(path)}: {reason}"])


def _write(stream: TextIO, lines: Iterable[str]) -> None:
    # The progress bar steps aside.
    with tqdm.tqdm.external_write_mode(file=stream):
        stream.writelines(f"{line}\n" for line in lines)
        stream.flush()
