# SPDX-License-Identifier: Apache-2.0
"""Image data sets: reading them from disk, dividing, shuffling, batching and augmenting them."""

from homoode_tf.data.augmentation import Augmentation
from homoode_tf.data.catalog import CatalogEntry, names, register
from homoode_tf.data.opening import from_datasets, load, short_name
from homoode_tf.data.pipeline import DataInfo, ImageData
from homoode_tf.data.resize import resize_and_crop
from homoode_tf.data.settings import FIELDS
from homoode_tf.data.storage import DataNotFoundError, prepare

__all__ = [
    "FIELDS",
    "Augmentation",
    "CatalogEntry",
    "DataInfo",
    "DataNotFoundError",
    "ImageData",
    "from_datasets",
    "load",
    "names",
    "prepare",
    "register",
    "resize_and_crop",
    "short_name",
]
