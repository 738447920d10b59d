# SPDX-License-Identifier: Apache-2.0
"""What a comparison reads of a run's folder, checked before anything is reckoned with it."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from homoode_tf.checks import check_integer, check_number
from homoode_tf.errors import InvalidTypeError, InvalidValueError
from homoode_tf.training.files.workdir import Workdir, WorkdirError
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.watch.metrics import read_metrics

_NUMBERS = ("nfe_forward", "nfe_backward", "peak_memory_mb", "seconds", "examples_per_second")
_ACCURACIES = ("validation_accuracy", "test_accuracy")
_COUNTS = ("parameters", "initial_point_parameters")
_AGAIN = "Remove it and give the training command again: it is written anew from the checkpoints."


def check_result(folder: Workdir, result: Mapping[str, Any]) -> None:
    """Refuses, with a `WorkdirError`, a result that lacks a number of those that are averaged."""
    with _naming(folder.result, _AGAIN):
        for name in _ACCURACIES:
            check_number(name, result.get(name), at_least=0)
        for name in _NUMBERS:
            _check_mean(name, result, name)


def read_finished(folder: Workdir) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the config and the result of a finished run.

    Raises:
        WorkdirError: If there is none, or one of them is damaged.
    """
    config = TrainingSettings.complete(folder.read_config())
    result = folder.read_result(folder.read_config())
    if result is None:
        raise WorkdirError(
            f"workdir {folder.directory} holds no finished run: {folder.result} is missing. "
            "Give the command that trains it again: it goes on to its end."
        )
    with _naming(folder.config, "Put it back as it was written."):
        check_integer("batch_size", config["batch_size"], at_least=1)
        check_integer("seed", config["seed"], at_least=0)
    check_result(folder, result)
    with _naming(folder.result, _AGAIN):
        for name in _COUNTS:
            check_integer(name, result.get(name), at_least=0)
        if not isinstance(result.get("dataset"), str):
            raise InvalidTypeError(f"dataset must be a name, got {result.get('dataset')!r}.")
    return config, result


def read_curve(folder: Workdir) -> list[dict[str, Any]]:
    """Returns the lines of `metrics.jsonl`; none where there is no such file yet.

    Raises:
        WorkdirError: If a line lacks what the table and the figure need.
    """
    if not folder.metrics.exists():
        return []
    lines = read_metrics(folder.metrics)
    with _naming(folder.metrics, "Remove that line."):
        for before, line in itertools.pairwise([{"step": 0}, *lines]):
            check_integer("step", line["step"], at_least=before["step"] + 1)
            what = f"of step {line['step']}"
            check_integer(f"epoch {what}", line.get("epoch"), at_least=0)
            for name in ("nfe_forward", "nfe_backward"):
                _check_mean(f"{name} {what}", line, name)
            if "validation_accuracy" in line:
                _check_mean(f"validation_accuracy {what}", line, "validation_accuracy")
    return lines


def _check_mean(name: str, values: Mapping[str, Any], key: str) -> None:
    """Of steps that were all skipped a mean is null, and no damage."""
    if key not in values or values[key] is not None:
        check_number(name, values.get(key), at_least=0)


@contextlib.contextmanager
def _naming(path: object, advice: str) -> Iterator[None]:
    """Says of which file a message is, and what to do."""
    try:
        yield
    except InvalidValueError as error:
        raise WorkdirError(f"{path} cannot be used: {error} {advice}") from None
