# SPDX-License-Identifier: Apache-2.0
"""The runs that are studied: those of comparisons, or single ones."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable

from homoode_tf.errors import InvalidValueError
from homoode_tf.training.files.workdir import Workdir, read_json
from homoode_tf.training.settings import TrainingSettings

_RATE = "_rate_"
# A run that ends below this many times chance has learnt nothing.
_TIMES_CHANCE = 2.0


@dataclasses.dataclass(frozen=True)
class Member:
    """A run that came to an end.

    Attributes:
        name: Of its model, without the rate that `configs/compare_rates.py` adds.
        dataset: What it was trained on.
        seed: Its seed.
        rate: Its learning rate.
        folder: Its folder.
        accuracy: On the test images; None where the run has no result.
        why: Why it counts as failed; None where it does not.
    """

    name: str
    dataset: str
    seed: int
    rate: float
    folder: pathlib.Path
    accuracy: float | None
    why: str | None


def find(folders: Iterable[str | os.PathLike]) -> list[Member]:
    """The runs that came to an end, of folders of runs and of comparisons.

    Raises:
        InvalidValueError: If a folder holds none, or they are of different data sets.
    """
    found = []
    for folder in map(pathlib.Path, folders):
        if Workdir(folder).config.exists():
            some = [_member(folder, None)]
        else:
            below = sorted({path.parent for path in folder.glob("*/seed*/*.json")})
            some = [_member(path, path.parent.name) for path in below]
        some = [member for member in some if member is not None]
        if not some:
            raise InvalidValueError(
                f"{folder} holds no run that came to an end: give the folder of a comparison "
                "(python -m homoode_tf.compare) or of a run."
            )
        found += some
    datasets = sorted({member.dataset for member in found})
    if len(datasets) > 1:
        raise InvalidValueError(
            f"the runs are of {' and '.join(datasets)}: give those of one data set at a time."
        )
    return found


def _member(folder: pathlib.Path, model: str | None) -> Member | None:
    workdir, failure = Workdir(folder), folder / "failure.json"
    if not workdir.config.exists():
        # Without it neither the seed nor the rate is known.
        return None
    config = TrainingSettings.complete(workdir.read_config())
    name = model.partition(_RATE)[0] if model else config["model"]["layer"]
    rate = config["optimizer"]["learning_rate"]
    known = (name, str(config["dataset"]), config["seed"], rate, folder)
    result = workdir.read_result()
    if result is None:
        return Member(*known, None, read_json(failure)["failure"]) if failure.exists() else None
    accuracy = result["test_accuracy"]
    floor = _TIMES_CHANCE / len(read_json(workdir.data)["class_names"])
    why = None if accuracy >= floor else f"accuracy {accuracy:.1%}: it learnt nothing"
    return Member(*known, accuracy, why)
