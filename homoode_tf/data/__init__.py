# SPDX-License-Identifier: Apache-2.0
"""Image data sets: reading them from disk, dividing, shuffling, batching and augmenting them."""

from homoode_tf.data.augmentation import Augmentation
from homoode_tf.data.catalog import CatalogEntry, names, register
from homoode_tf.data.pipeline import DataInfo, ImageData, load
from homoode_tf.data.storage import DataNotFoundError, prepare

__all__ = [
    "Augmentation",
    "CatalogEntry",
    "DataInfo",
    "DataNotFoundError",
    "ImageData",
    "load",
    "names",
    "prepare",
    "register",
]
