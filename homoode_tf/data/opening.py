# SPDX-License-Identifier: Apache-2.0
"""From what `config.dataset` says to a data set."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from homoode_tf import extras
from homoode_tf.checks import check_utf8
from homoode_tf.data import arrays, catalog, folder, storage, tfds_source
from homoode_tf.data.pipeline import DataInfo, ImageData
from homoode_tf.data.settings import DataSettings, is_image_data
from homoode_tf.errors import InvalidValueError


@extras.explaining()
def load(
    name: str | ImageData,
    *,
    data_dir: str | os.PathLike | None = None,
    known: DataInfo | None = None,
    **fields: Any,
) -> ImageData:
    """Opens a data set that is on disk; nothing is ever downloaded here.

    `digits` is made on the spot from what scikit-learn carries. Other names are fetched once with
    `python -m homoode_tf.data NAME`.

    Args:
      name: One of `homoode_tf.data.names()`; `folder:PATH`, images in class-named subfolders;
        `npz:FILE`, arrays; `tfds:NAME`, any image classification of TFDS; or an object with the
        interface of `ImageData`, which is returned as it is.
      data_dir: The folder of TFDS data sets; None is TFDS's default, `~/tensorflow_datasets`.
      known: The `info` that an earlier call gave. Images that have changed since are
        refused, and nothing is measured again.
      **fields: `validation_fraction` (here 0.1), `test_fraction`, `image_size`, `normalization`,
        `cache_megabytes`: as in a config.

    Returns:
      The data set.

    Raises:
      InvalidValueError: Unknown name, a value that is not allowed, a fraction that leaves a part
        empty, or images that cannot be used.
      DataNotFoundError: The data set is not in `data_dir`; the message says how to fetch it.
      OSError: `digits` cannot be written to `data_dir`.
      MissingExtraError: A package of the extra `train` is needed and not installed.

    Example:
      >>> digits = load("digits")
      >>> digits.info.image_shape, digits.info.num_train
      ((8, 8, 1), 1293)
    """
    settings = DataSettings(name, **{"validation_fraction": 0.1, **fields})
    if is_image_data(settings.dataset):
        size = settings.dataset.info.image_shape[:2]
        if settings.image_size and tuple(settings.image_size) != tuple(size):
            raise InvalidValueError(
                f"image_size {settings.image_size} is not that of the data set, {tuple(size)}: "
                "give it where the data set is made"
            )
        return _with_its_own_figures(settings.dataset, settings)
    check_utf8("dataset", settings.dataset)
    kind, _, rest = settings.dataset.partition(":")
    size = settings.image_size
    if kind == "folder":
        source = folder.open_folder(rest, size, None if known is None else known.left_out)
    elif kind == "npz":
        source = arrays.open_npz(rest, size)
    elif kind == "tfds":
        entry = catalog.ENTRIES.get(rest)
        builder = storage.open_prepared(settings.dataset, data_dir)
        source = tfds_source.open_tfds(settings.dataset, builder, size, entry)
    else:
        entry = catalog.find(settings.dataset)
        if entry.open_images is not None:
            found = entry.open_images(data_dir, settings.validation_fraction)
            return _with_its_own_figures(found, settings)
        builder = storage.open_prepared(settings.dataset, data_dir)
        source = tfds_source.open_tfds(settings.dataset, builder, size, entry)
    if known is not None and known.fingerprint not in ("", source.fingerprint):
        raise InvalidValueError(
            f"{source.name} is not what it was when this run began: bring its images back, or "
            "begin another run with another --workdir"
        )
    return ImageData(source, settings, known)


def _with_its_own_figures(images: ImageData, settings: DataSettings) -> ImageData:
    if settings.normalization != "auto":
        raise InvalidValueError(
            f"normalization {settings.normalization!r} is asked for, but {images.info.name} brings "
            "its mean and deviation along: set config.normalization=auto, and what it shall be "
            "where the data set is made"
        )
    return images


def from_datasets(
    name: str,
    train: tf.data.Dataset,
    *,
    validation: tf.data.Dataset | None = None,
    test: tf.data.Dataset | None = None,
    class_names: Sequence[str] = (),
    **fields: Any,
) -> ImageData:
    """Makes a data set of any `tf.data.Dataset`, for `load` and `config.dataset`.

    Args:
      name: What the results call it.
      train: Pairs (image, label): uint8 of shape (height, width, channels) and an integer; finite.
      validation: The same; None takes its images from `train`.
      test: The same.
      class_names: By label; the numbers where there are none.
      **fields: As of `load`.

    Raises:
      InvalidValueError: An element is no such pair, or the images need more than
        `cache_megabytes`, for they are kept in memory.

    Example:
      >>> images = tf.data.Dataset.from_tensor_slices(
      ...     (tf.zeros([50, 8, 8, 1], tf.uint8), tf.range(50) % 2)
      ... )
      >>> from_datasets("blank", images).info.num_train
      40
    """
    settings = DataSettings(name, **{"validation_fraction": 0.1, **fields})
    given = {"train": train, "validation": validation, "test": test}
    given = {split: dataset for split, dataset in given.items() if dataset is not None}
    limit = settings.cache_megabytes
    source = arrays.read_datasets(name, given, class_names, settings.image_size, limit)
    return ImageData(source, settings)


def short_name(dataset: Any) -> str:
    """Returns a data set's name without the way to it, for folders and titles.

    Example:
      >>> short_name("folder:/pictures/flowers"), short_name("digits")
      ('flowers', 'digits')
    """
    name = dataset.info.name if is_image_data(dataset) else str(dataset)
    kind, _, rest = name.partition(":")
    if kind in ("folder", "npz"):
        return pathlib.Path(rest).expanduser().absolute().stem
    return (rest or name).replace("/", "_").replace(":", "_")
