# SPDX-License-Identifier: Apache-2.0
"""`npz:FILE`, and any `tf.data.Dataset`: images that come as arrays."""

from __future__ import annotations

import collections
import os
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from homoode_tf.data import records
from homoode_tf.data.source import (
    Source,
    Split,
    check_classes,
    check_labels,
    fit,
    wanted_shape,
)
from homoode_tf.errors import InvalidTypeError, InvalidValueError
from homoode_tf.graph_errors import reason

_KEYS = "x_train, y_train, x_test, y_test (and x_validation, y_validation, class_names)"
_CHUNK = 1024
# So many may be without an image in a small set.
_MANY_CLASSES = 1000


def open_npz(path: str, image_size: Sequence[int]) -> Source:
    """Opens a file of `np.savez(FILE, x_train=..., y_train=..., x_test=..., y_test=...)`.

    `x_*` are uint8 (n, height, width) or (n, height, width, channels), `y_*` integers (n,) from 0.
    `x_validation`, `y_validation` and `class_names` may be there; the test arrays may be absent, or
    without any image.

    Args:
      path: The file.
      image_size: The (height, width) to resize and crop to; () for the images' own.

    Raises:
      InvalidValueError: There is no such file, a key or an array is not as above, or there is only
        one class.
    """
    name, path = f"npz:{path}", os.path.expanduser(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        arrays = np.load(path, allow_pickle=False)
        labels, headers = {}, {}
        for split in ("train", "validation", "test"):
            x, y = f"x_{split}", f"y_{split}"
            if split != "train" and not {x, y} & members.keys():
                continue
            if absent := {x, y} - members.keys():
                raise InvalidValueError(
                    f"{name} lacks {', '.join(sorted(absent))}; its arrays must be {_KEYS}, "
                    f"found {', '.join(sorted(members)) or 'none'}"
                )
            header = _header(name, x, path, members[x])
            found = check_labels(f"{y} of {name}", _read(arrays, y), header[0][0])
            # Without an image it is no split.
            if found.size or split == "train":
                headers[split], labels[split] = header, found
        given = _read(arrays, "class_names") if "class_names" in members else ()
    except FileNotFoundError:
        raise InvalidValueError(f"{name}: there is no such file") from None
    except InvalidValueError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        text = getattr(error, "strerror", None) or str(error)
        raise InvalidValueError(
            f"{name} is no file of np.savez with the arrays {_KEYS}: {text}"
        ) from None
    names = _class_names(name, given, labels)
    shapes = {shape[1:] for shape, _ in headers.values()}
    if len(shapes) > 1:
        raise InvalidValueError(f"the images of {name} have several shapes: {sorted(shapes)}")
    shape = wanted_shape(name, shapes.pop(), image_size)
    splits = {}
    for split, (own, offset) in headers.items():
        places = None
        if offset is not None:
            row = int(np.prod(own[1:]))
            places = records.of_array(path, offset, own[0], row)
        splits[split] = _split(arrays, f"x_{split}", labels[split], own, places, shape)
    fingerprint = " ".join(f"{key}:{members[key].CRC:08x}" for key in sorted(members))
    return Source(name, shape, names, splits, fingerprint=fingerprint)


def _read(arrays: Any, key: str) -> np.ndarray:
    try:
        return arrays[key]
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _header(name: str, key: str, path: str, member: zipfile.ZipInfo) -> tuple[tuple, int | None]:
    """Returns the shape of an array of images, with channels, and where its first byte is.

    That is None where the array is packed, so that no single image can be read.
    """
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
        shape, in_columns, dtype = read(file)
        inside = file.tell()
    if dtype != np.uint8 or len(shape) not in (3, 4):
        raise InvalidTypeError(
            f"{key} of {name} must be uint8 of shape (n, height, width) or (n, height, width, "
            f"channels) with pixels 0..255, got {dtype} of shape {shape}"
        )
    shape = shape if len(shape) == 4 else (*shape, 1)
    if member.compress_type != zipfile.ZIP_STORED or in_columns:
        return shape, None
    with open(path, "rb") as file:
        file.seek(member.header_offset + 26)
        return shape, member.header_offset + 30 + sum(struct.unpack("<HH", file.read(4))) + inside


def _split(arrays: Any, key: str, labels: np.ndarray, given: tuple, places, shape) -> Split:
    with tf.device("CPU:0"):
        classes = tf.constant(labels)

    def read(index):
        image = tf.reshape(tf.io.decode_raw(places.read(index), tf.uint8), given[1:])
        return fit(image, shape), classes[index]

    def read_all():
        images = arrays[key].reshape(given)
        chunks = [images[k : k + _CHUNK] for k in range(0, len(images), _CHUNK)]
        if given[1:] != shape:
            images = np.concatenate([fit(tf.constant(chunk), shape).numpy() for chunk in chunks])
        return images, labels

    return Split(given[0], read if places else None, read_all)


def read_datasets(
    name: str,
    datasets: dict[str, tf.data.Dataset],
    class_names: Sequence[str],
    image_size: Sequence[int],
    megabytes: float,
) -> Source:
    """Reads datasets of (image, label), by the names of their splits, into memory.

    Raises:
      InvalidValueError: An element is no such pair, or they do not fit into so many megabytes.
    """
    splits, labels = {}, {}
    shape = _shape_of(f"dataset {name!r}, train", datasets["train"], image_size)
    for split, dataset in datasets.items():
        what = f"dataset {name!r}, {split}"
        if _shape_of(what, dataset, image_size) != shape:
            raise InvalidValueError(f"{what} has images of another shape than train, {shape}")
        images, labels[split] = _read_dataset(what, dataset, shape, megabytes)
        splits[split] = _of_arrays(images, labels[split])
    return Source(name, shape, _class_names(name, class_names, labels), splits)


def _of_arrays(images: np.ndarray, labels: np.ndarray) -> Split:
    return Split(len(labels), None, lambda: (images, labels))


def _shape_of(what: str, dataset: tf.data.Dataset, image_size: Sequence[int]) -> tuple:
    spec = getattr(dataset, "element_spec", None)
    is_pair = isinstance(spec, tuple) and len(spec) == 2 and all(hasattr(s, "shape") for s in spec)
    if not (
        is_pair
        and spec[0].dtype == tf.uint8
        and spec[0].shape.rank == 3
        and spec[1].dtype.is_integer
        and spec[1].shape.rank == 0
    ):
        raise InvalidTypeError(
            f"{what} must be a tf.data.Dataset of (image, label), the image uint8 of shape (height,"
            f" width, channels) and the label an integer, got {spec}; batches: `.unbatch()` first"
        )
    return wanted_shape(what, tuple(spec[0].shape), image_size)


def _read_dataset(
    what: str, dataset: tf.data.Dataset, shape: tuple, megabytes: float
) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    fitted = dataset.map(lambda image, label: (fit(image, shape), tf.cast(label, tf.int64)))
    most = megabytes * 1e6 / np.prod(shape)
    try:
        for some in fitted.batch(_CHUNK).as_numpy_iterator():
            images.append(some[0])
            labels.append(some[1])
            if sum(map(len, labels)) > most:
                raise InvalidValueError(
                    f"{what} has more than {megabytes:g} MB, or no end: it is kept in memory; "
                    "raise `cache_megabytes`, or write it to a folder and train on folder:PATH"
                )
    except tf.errors.OpError as error:
        raise InvalidValueError(f"{what} cannot be read: {reason(error)}") from error
    if not labels:
        raise InvalidValueError(f"{what} is empty")
    return np.concatenate(images), check_labels(f"the labels of {what}", np.concatenate(labels))


def _class_names(name: str, given: Any, labels: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    names = _texts(f"class_names of {name}", given)
    number, images = 1 + max(int(some.max(initial=-1)) for some in labels.values()), labels["train"]
    if 0 < len(names) < number:
        raise InvalidValueError(f"{name} has {len(names)} class_names, but labels to {number - 1}")
    if not names and number > max(_MANY_CLASSES, len(images)):
        raise InvalidValueError(
            f"{name} has labels to {number - 1}, but {len(images)} images to train on: labels must "
            "be classes 0, 1, ... and no ids; if they are classes, give class_names"
        )
    return check_classes(name, names or [str(k) for k in range(number)])


def _texts(what: str, given: Any) -> list[str]:
    """Returns an array of texts as a list of them."""
    try:
        names = np.asarray(given)
        names = names[:, 0] if names.ndim == 2 and names.shape[1] == 1 else names
        if names.ndim != 1 or not (names.dtype.kind in "USiu" or names.size == 0):
            raise InvalidTypeError(
                f"{what} must be texts of shape (n,), got {names.dtype} of shape {names.shape}"
            )
        # As text, bytes would be "b'...'".
        texts = [n.decode() if isinstance(n, bytes) else str(n) for n in names.tolist()]
    except InvalidTypeError:
        raise
    except ValueError as error:  # Lists of several lengths, bytes that are no UTF-8.
        raise InvalidTypeError(f"{what} must be texts of shape (n,): {error}") from None
    for text, times in collections.Counter(texts).items():
        if not text.strip() or not text.isprintable():
            raise InvalidValueError(f"{what} must be readable texts, got {text!r}")
        if times > 1:
            raise InvalidValueError(f"{what} must differ from each other, got {text!r} twice")
    return texts
