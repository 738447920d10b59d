# SPDX-License-Identifier: Apache-2.0
"""Classifies image files: `python -m homoode_tf.predict --saved_model DIR image.png folder/ ...`.

Answers go to the standard output, in the order of the paths, batch by batch. A file that gives no
image is reported on the standard error as `path: reason`, and the rest is done. Ends with status 0
if every file was classified, 1 if one was not, and 2 if nothing could be done: a wrong flag, or no
SavedModel of this project in DIR.
"""

import argparse
import contextlib
import itertools
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import TextIO

import numpy as np
import tqdm

from homoode_tf.serving.predict import images, output
from homoode_tf.serving.predict.served_model import (
    ModelError,
    PredictionError,
    Predictions,
    ServedModel,
)

_PROGRAM = "python -m homoode_tf.predict"
# As a shell says it of a program that the signal has ended.
_INTERRUPTED, _BROKEN_PIPE = 128 + 2, 128 + 13


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parse(arguments)
    for name in ("batch_size", "top"):
        value = getattr(options, name)
        if value is not None and value < 1:
            return _fail(f"--{name} must be at least 1, got {value}")
    # Notices about the machine and about how a model was saved; errors are still shown.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        model = ServedModel(options.saved_model)
        with warnings.catch_warnings():
            # Of Pillow, about files that it reads all the same.
            warnings.simplefilter("ignore")
            complete = _Command(model, options).run()
    except ModelError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        _fail("stopped by SIGINT")
        return _INTERRUPTED
    except BrokenPipeError:  # As of `| head`, which has read enough.
        _discard_output()
        return _BROKEN_PIPE
    except OSError as error:  # Reading ends in an ImageError, so this is a full disk.
        _discard_output()
        _fail(f"the answers cannot be written: {error.strerror or error}")
        return 1
    return 0 if complete else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM, description="Classifies image files with an exported model."
    )
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a PNG or JPEG file of any size and mode, or a folder, which is searched to any depth",
    )
    parser.add_argument(
        "--saved_model", required=True, metavar="DIR", help="the exported model's folder"
    )
    parser.add_argument(
        "--format",
        choices=("table", "jsonl"),
        default="table",
        help="a table, or one JSON object a line (default: table)",
    )
    parser.add_argument(
        "--top", type=int, metavar="K", help="give the K most probable classes (default: 1)"
    )
    parser.add_argument(
        "--fit",
        choices=images.FITS,
        default=images.FITS[0],
        help="what happens to images of other proportions than the model's: the edges are cut off, "
        "or everything is kept, squeezed (default: crop)",
    )
    parser.add_argument(
        "--background",
        choices=images.BACKGROUNDS,
        default=images.BACKGROUNDS[0],
        help="what transparent parts show (default: white)",
    )
    parser.add_argument(
        "--batch_size", type=int, default=64, metavar="N", help="images at a time (default: 64)"
    )
    return parser.parse_args(arguments)


class _Command:
    """One run over all paths; in memory is one batch at a time."""

    def __init__(self, model: ServedModel, options: argparse.Namespace):
        self._model = model
        self._options = options
        self._complete = True
        if options.format == "table":
            self._format = output.Table()
        else:
            self._format = output.JsonLines(top=options.top is not None)

    def run(self) -> bool:
        """Answers all paths; returns whether every file was classified."""
        # A file's name may hold letters that the terminal's encoding lacks.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError):
                stream.reconfigure(errors="backslashreplace")
        found = images.find(self._options.paths)
        with self._progress() as progress:
            while batch := list(itertools.islice(found, self._options.batch_size)):
                paths, arrays = self._read(batch)
                answers = list(self._ask(paths, arrays))
                _write(sys.stdout, self._format.lines(answers))
                progress.update(len(batch))
        return self._complete

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
            try:
                array = images.read(
                    found, self._model.image_shape, self._options.fit, self._options.background
                )
            except images.ImageError as error:
                self._report(found, str(error))
            else:
                paths.append(found)
                arrays.append(array)
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
            yield output.Answer(
                path,
                [
                    output.Guess(int(number), names and names[number], float(probability))
                    for number, probability in zip(classes, probabilities, strict=True)
                ],
            )

    def _report(self, path: str, reason: str) -> None:
        self._complete = False
        _write(sys.stderr, [f"{output.printable(path)}: {reason}"])


def _write(stream: TextIO, lines: Sequence[str]) -> None:
    # The progress bar steps aside.
    with tqdm.tqdm.external_write_mode(file=stream):
        stream.writelines(f"{line}\n" for line in lines)
        stream.flush()


def _discard_output() -> None:
    """Lets Python's own flush at the end go nowhere, where it would fail once more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(reason: str) -> int:
    print(f"{_PROGRAM}: {output.printable(reason)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
