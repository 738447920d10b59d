# SPDX-License-Identifier: Apache-2.0
"""The fields of a config that say what is learned from."""

import dataclasses
from typing import Any

from homoode_tf.data.augmentation import Augmentation
from homoode_tf.errors import InvalidTypeError
from homoode_tf.settings import REQUIRED, Settings, group, setting


def is_image_data(value: Any) -> bool:
    """Whether a value has the interface of `ImageData`."""
    return all(hasattr(value, name) for name in ("info", "train_batches", "evaluation_batches"))


def _check_dataset(name: str, value: Any) -> None:
    if not isinstance(value, str) and not is_image_data(value):
        raise InvalidTypeError(f"{name} must be the name of a data set, got {value!r}.")


@dataclasses.dataclass(frozen=True)
class DataSettings(Settings):
    """Which images, and what is done to them."""

    dataset: Any = setting(
        REQUIRED,
        "One of `homoode_tf.data.names()`, or one's own (see `data.register`).",
        check=_check_dataset,
        allowed="the name of a data set",
    )
    validation_fraction: float = setting(
        0.02, "Share of the train split that is kept for validation.", above=0, below=1
    )
    augmentation: Augmentation = group(Augmentation)
