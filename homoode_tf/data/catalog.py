# SPDX-License-Identifier: Apache-2.0
"""The table of the data sets that the project knows, with what a model must know of each."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Callable
from typing import Any

from homoode_tf.data.source import WAYS
from homoode_tf.data.statistics import IMAGENET
from homoode_tf.errors import InvalidValueError


@dataclasses.dataclass(frozen=True)
class CatalogEntry:
    """The facts about a data set that hold whether or not it is on this machine's disk.

    Attributes:
      name: The name of the data set in TFDS.
      image_shape: (height, width, channels) of every image.
      num_classes: The number of classes.
      mean: The mean of each channel over the training images, pixels in 0..1.
      std: The standard deviation of each channel over the training images, pixels in 0..1.
      open_images: What `load` calls with (data_dir, validation_fraction) for an `ImageData`, or an
        object of its interface; None for a data set that lies on disk as TFDS writes it.
    """

    name: str
    image_shape: tuple[int, int, int]
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    open_images: Callable[[str | os.PathLike | None, float], Any] | None = None


_ENTRIES = (
    # Computed from the 1,437 training images that `digits.py` writes.
    CatalogEntry("digits", (8, 8, 1), 10, (0.3054,), (0.3762,)),
    CatalogEntry("mnist", (28, 28, 1), 10, (0.1307,), (0.3081,)),
    CatalogEntry("fashion_mnist", (28, 28, 1), 10, (0.2860,), (0.3530,)),
    CatalogEntry(
        "svhn_cropped", (32, 32, 3), 10, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)
    ),
    # ImageNet's statistics and not CIFAR-10's own: the reference model normalises with them.
    CatalogEntry("cifar10", (32, 32, 3), 10, *IMAGENET),
    CatalogEntry("cifar100", (32, 32, 3), 100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    CatalogEntry(
        "tiny_imagenet", (64, 64, 3), 200, (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)
    ),
)
# Of the project.
ENTRIES = {entry.name: entry for entry in _ENTRIES}
_CATALOG = dict(ENTRIES)


def register(entry: CatalogEntry) -> None:
    """Makes a data set of one's own known to `load`, and so to `config.dataset`.

    A recipe registers it before it names it; so does what reads the run later.

    Args:
      entry: Its facts. Without `open_images` it is TFDS's data set of that name, or that of a
        TFDS builder which has been imported.

    Raises:
      InvalidValueError: The name is that of a data set of the project.

    Example:
      >>> register(CatalogEntry("emnist", (28, 28, 1), 62, (0.17,), (0.33,)))
      >>> "emnist" in names()
      True
    """
    if entry.name in ENTRIES:
        raise InvalidValueError(f"dataset {entry.name!r} is there already; choose another name.")
    _CATALOG[entry.name] = entry


def is_own(name: str) -> bool:
    """Whether a data set is one that `register` has made known."""
    return name in _CATALOG and name not in ENTRIES


def names() -> tuple[str, ...]:
    """Returns the names that `load` accepts.

    Example:
      >>> "digits" in names()
      True
    """
    return tuple(_CATALOG)


def find(name: str) -> CatalogEntry:
    """Returns the catalog's entry for a data set.

    Args:
      name: One of `names()`.

    Raises:
      InvalidValueError: The name is unknown; the message lists the known ones and the closest.
    """
    if isinstance(name, str) and name in _CATALOG:
        return _CATALOG[name]
    closest = difflib.get_close_matches(str(name).lower(), _CATALOG, n=1)
    path = os.path.expanduser(str(name))
    if os.path.isdir(path):
        closest = [f"folder:{name}"]
    elif os.path.isfile(path):
        closest = [f"npz:{name}"]
    suggestion = f" Did you mean {closest[0]!r}?" if closest else ""
    raise InvalidValueError(
        f"unknown dataset {name!r}; {WAYS}; known: {', '.join(_CATALOG)}.{suggestion}"
    )
