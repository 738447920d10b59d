# SPDX-License-Identifier: Apache-2.0
"""What is compared: models that differ in a few fields of one recipe, each with several seeds."""

import copy
import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import ml_collections

from homoode_tf import data, models
from homoode_tf.checks import check_choice, check_number, check_path
from homoode_tf.data import catalog
from homoode_tf.errors import InvalidValueError
from homoode_tf.report.compare import fields
from homoode_tf.training.files.workdir import Workdir, read_json

# A result without these, as finite numbers, is none.
_JUDGED = ("validation_accuracy", "test_accuracy", "test_loss")


@dataclasses.dataclass(frozen=True)
class Member:
    """One run: a model with one seed.

    Attributes:
        model: Its name in the comparison.
        seed: Of weights, dropout and the order of the data.
        config: The whole config to train.
        workdir: The run's folder.
    """

    model: str
    seed: int
    config: ml_collections.ConfigDict
    workdir: pathlib.Path

    @property
    def log(self) -> pathlib.Path:
        """What its process prints."""
        return self.workdir / "log.txt"

    @property
    def failure(self) -> pathlib.Path:
        """What it leaves instead of a result where it failed."""
        return self.workdir / "failure.json"

    @property
    def is_complete(self) -> bool:
        """Whether it has a result, be it of no use."""
        return Workdir(self.workdir).result.exists()

    def outcome(self) -> dict[str, Any] | None:
        """The content of its `result.json`, or {"failure": why there is no figure}.

        None while it has neither.

        Raises:
            WorkdirError: If its folder was made by another config, or a file of it is damaged.
        """
        folder = Workdir(self.workdir)
        if folder.config.exists():
            folder.check(self.config)
        if (result := folder.read_result(self.config)) is None:
            return read_json(self.failure) if self.failure.exists() else None
        for name in _JUDGED:
            value = result.get(name)
            try:
                check_number(name, value)
            except InvalidValueError:
                return {"failure": f"it ended with {name} = {value}, which is no finite number"}
        return result


class Experiment:
    """A comparison as a config describes it.

    Args:
        config: `get_config()` of a `configs/compare_*.py`: `recipe`, the config that all models
            share; `models`, for each name the fields in which it differs; `seeds`; and
            `parameter_tolerance`, the relative difference allowed between numbers of parameters.
        workdir: Folder of the comparison.
        data_dir: Folder of the TFDS data sets, for `tfds:NAME`; None is TFDS's own.

    Attributes:
        members: The runs, seed by seed, so that an early look compares all models.
        parameters: For each model (trained by the task, of the initial point).

    Raises:
        ValueError: If a field is missing, unknown or not allowed, or the numbers of parameters
            differ by more than the tolerance.

    Example:
        >>> from configs import compare_digits
        >>> experiment = Experiment(compare_digits.get_config(), "runs/compare")
        >>> experiment.parameters["homoode"]
        (131786, 64)
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        workdir: str | pathlib.Path,
        data_dir: str | os.PathLike | None = None,
    ):
        fields.check(config)
        self.workdir = pathlib.Path(check_path("workdir", workdir))
        self._configs = {
            name: fields.with_changes(config.recipe, changes, name)
            for name, changes in config.models.items()
        }
        self.dataset = config.recipe.dataset
        self.members = [self._member(name, seed) for seed in config.seeds for name in self._configs]
        self.parameters = {name: _count(model, data_dir) for name, model in self._configs.items()}
        self._check_parameters(config.parameter_tolerance)

    @property
    def model_names(self) -> tuple[str, ...]:
        """The models, sorted by name as ml_collections sorts them."""
        return tuple(self._configs)

    def config_of(self, model: str) -> ml_collections.ConfigDict:
        """Returns the config of a model, with the recipe's own seed."""
        return self._configs[model]

    def _member(self, name: str, seed: int) -> Member:
        config = ml_collections.ConfigDict({**self._configs[name].to_dict(), "seed": int(seed)})
        return Member(name, int(seed), config.lock(), self.workdir / name / f"seed{seed}")

    def _check_parameters(self, tolerance: float) -> None:
        counts = {name: task for name, (task, _) in self.parameters.items()}
        smallest, largest = min(counts.values()), max(counts.values())
        if largest > (1.0 + tolerance) * smallest:
            listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
            raise InvalidValueError(
                f"The models' numbers of parameters must agree to {tolerance:.0%}, got {listed}. "
                "Change channels or extra_channels of those that stand out."
            )


def select(config: ml_collections.ConfigDict, names: Sequence[str]) -> ml_collections.ConfigDict:
    """Returns the config of the comparison of some of its models.

    Raises:
        InvalidValueError: If one is not among them, or the config is no comparison's.
    """
    fields.check(config)
    for name in names:
        check_choice("--models", name, list(config.models))
    selected = copy.deepcopy(config).unlock()
    for name in set(config.models) - set(names):
        del selected.models[name]
    return selected.lock()


def _count(
    config: ml_collections.ConfigDict, data_dir: str | os.PathLike | None
) -> tuple[int, int]:
    if config.dataset in catalog.names():
        info = catalog.find(config.dataset)
    else:
        given = {name: config[name] for name in data.FIELDS if name in config}
        info = data.load(config.dataset, data_dir=data_dir, **given).info
    model = models.build(config.model, info.image_shape, info.num_classes, info.mean, info.std)
    return model.task_parameters, model.initial_point_parameters
