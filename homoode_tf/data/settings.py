# SPDX-License-Identifier: Apache-2.0
"""The fields of a config that say what is learned from."""

import dataclasses
from typing import Any

from homoode_tf.checks import check_integer
from homoode_tf.data.augmentation import Augmentation
from homoode_tf.data.source import LARGEST, SMALLEST
from homoode_tf.errors import InvalidTypeError, InvalidValueError
from homoode_tf.settings import REQUIRED, Settings, group, not_negative, setting

# What `load` takes beside the name.
FIELDS = ("validation_fraction", "test_fraction", "image_size", "normalization", "cache_megabytes")


def is_image_data(value: Any) -> bool:
    """Whether a value has the interface of `ImageData`."""
    return all(hasattr(value, name) for name in ("info", "train_batches", "evaluation_batches"))


def _check_dataset(name: str, value: Any) -> None:
    if not isinstance(value, str) and not is_image_data(value):
        hint = "; a tf.data.Dataset goes through data.from_datasets"
        raise InvalidTypeError(
            f"{name} must be the name of a data set, got {value!r}"
            f"{hint if hasattr(value, 'element_spec') else ''}."
        )


def _check_size(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or len(value) not in (0, 2):
        raise InvalidValueError(f"{name} must be (), or (height, width), got {value!r}.")
    for number in value:
        check_integer(f"{name}'s height and width", number, at_least=SMALLEST, at_most=LARGEST)


@dataclasses.dataclass(frozen=True)
class DataSettings(Settings):
    """Which images, and what is done to them."""

    dataset: Any = setting(
        REQUIRED,
        "One of `homoode_tf.data.names()`, `folder:PATH`, `npz:FILE`, `tfds:NAME`, or one's own "
        "(see `data.from_datasets` and `data.register`).",
        check=_check_dataset,
        allowed="the name of a data set",
    )
    validation_fraction: float = setting(
        0.02,
        "Share of the train split that is kept for validation, where there is no such split.",
        above=0,
        below=1,
    )
    test_fraction: float = setting(
        0.1, "The same for the test, of sets without a test split.", above=0, below=1
    )
    image_size: tuple = setting(
        (),
        "(height, width) to which all images are resized and cropped; () leaves them.",
        check=_check_size,
        allowed=f"(), or two integers from {SMALLEST} to {LARGEST}",
    )
    normalization: str = setting(
        "auto",
        "Mean and deviation of the pixels. auto: the known ones of a set of `homoode_tf.data."
        "names()`, else measured; measured: over the training images; imagenet: ImageNet's.",
        choices=("auto", "measured", "imagenet"),
    )
    cache_megabytes: int = not_negative(
        2000, "Sets of more pixels than that are not kept in memory but read batch by batch."
    )
    augmentation: Augmentation = group(Augmentation)
