# SPDX-License-Identifier: Apache-2.0
"""`folder:PATH`: images in subfolders that are named as their classes."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from homoode_tf import regular_file
from homoode_tf.data import orientation
from homoode_tf.data.source import (
    Source,
    Split,
    check_classes,
    fit,
    read_in_turn,
    wanted_shape,
)
from homoode_tf.data.statistics import mean_and_deviation, sums
from homoode_tf.errors import InvalidValueError
from homoode_tf.graph_errors import reason

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
_SPLITS = {
    **{"train": "train", "test": "test"},
    **dict.fromkeys(("validation", "valid", "val"), "validation"),
}
_MAX_BYTES = 64 * 2**20
_GREY = ("1", "L", "LA", "I", "I;16")
# As many as a line can hold; all stand in the run's data.json.
_NAMED = 10
_AT_A_TIME = 512


class _File(NamedTuple):
    split: str
    label: str
    path: str  # below the folder
    size: int


class _Look(NamedTuple):
    """What a file's header says: the size after turning the image as EXIF says."""

    height: int
    width: int
    channels: int
    orientation: int


def open_folder(
    folder: str, image_size: Sequence[int], left_out: Collection[str] | None = None
) -> Source:
    """Opens a folder of images, each in a subfolder that is named as its class.

    Subfolders `train` and, where they exist, `validation` and `test` hold such subfolders
    themselves; otherwise there is only a train split. The order of the images is that of their
    file names, and then of their classes. Nothing is written.

    Every file is decoded once, so that damaged ones are found, and named in a warning, before
    training begins; so are classes without images. JPEGs are turned upright as their EXIF says.

    Args:
      folder: Its path.
      image_size: The (height, width) to resize and crop to; () for images all of one size.
      left_out: The files that an earlier call has left out: they are not looked for again, and
        the statistics are those which that call has measured.

    Raises:
      InvalidValueError: There is no such folder, no image, only one class, or a class in test or
        validation which train lacks.
    """
    name = f"folder:{folder}"
    folder = os.path.expanduser(folder)
    if not os.path.isdir(folder):
        raise InvalidValueError(f"{name}: there is no such folder")
    files, folders, notes = _list(folder)
    if not files:
        raise InvalidValueError(
            f"{name} holds no images: expected {folder}/CLASS/*.png (or .jpg, .webp, .bmp), or "
            f"{folder}/train/CLASS/*.png"
        )
    listing = "\n".join(f"{file.path} {file.size}" for file in files)
    looks, damaged = _look_at_all(folder, files)
    known = left_out is not None
    kept = [
        file for file in files if file.path not in damaged and file.path not in (left_out or ())
    ]
    shapes = {looks[file.path][:3] for file in kept}
    if not shapes:
        raise InvalidValueError(f"{name} holds no sound image: {_in_words(damaged)}")
    sizes = {shape[:2] for shape in shapes}
    own = next(iter(sizes)) if len(sizes) == 1 else (None, None)
    shape = wanted_shape(name, (*own, max(look[2] for look in shapes)), image_size)

    reader = _Reader(folder, kept, looks, shape)
    if not known:
        moments, decoded = sums(len(kept), reader.image)
        for index in np.flatnonzero(~decoded):
            damaged[kept[index].path] = reader.failure(index)
        kept = [file for file, sound in zip(kept, decoded, strict=True) if sound]
        of_train = moments[decoded][[file.split == "train" for file in kept]]
    classes = _classes(name, kept)
    empty = sorted({label for _, label in folders} - {*classes})
    _warn(name, damaged, [f"class {label!r} holds no images" for label in empty] + notes)
    return Source(
        name,
        shape,
        classes,
        {
            split: _Reader(
                folder, [file for file in kept if file.split == split], looks, shape, classes
            ).split()
            for split in ("train", "validation", "test")
            if any(file.split == split for file in kept)
        },
        statistics=None if known else lambda chosen: mean_and_deviation(of_train[chosen], shape),
        fingerprint=hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest(),
        left_out=tuple(sorted(damaged)) if not known else tuple(left_out),
    )


class _Reader:
    """Reads files by their index, in the order given."""

    def __init__(self, folder, files, looks, shape, classes=()):
        self._size, self._shape = len(files), shape
        paths = [os.fsencode(os.path.join(folder, file.path)) for file in files]
        orientations = [looks[file.path].orientation for file in files]
        numbers = {label: number for number, label in enumerate(classes)}
        labels = [numbers.get(file.label, 0) for file in files]
        self._is_turned = set(orientations) != {1}
        with tf.device("CPU:0"):
            self._paths = tf.constant(paths, tf.string)
            self._orientations = tf.constant(orientations, tf.int32)
            self._labels = tf.constant(labels, tf.int64)

    def image(self, index: tf.Tensor) -> tf.Tensor:
        content = tf.io.read_file(self._paths[index])
        image = tf.io.decode_image(content, expand_animations=False)
        # The fourth channel of a BMP holds anything.
        image = image[..., : tf.where(tf.strings.substr(content, 0, 2) == "BM", 3, 4)]
        if self._is_turned:
            image = orientation.upright(tf.cast(image, tf.float32), self._orientations[index])
        return fit(tf.ensure_shape(image, (None, None, None)), self._shape)

    def failure(self, index: Any) -> str:
        try:
            self.image(tf.constant(index))
        except tf.errors.OpError as error:
            return reason(error)
        return "it could be read only at the second try"

    def split(self) -> Split:
        def read(index):
            return self.image(index), self._labels[index]

        return Split(self._size, read, lambda: read_in_turn(self._size, read, self._shape))


def _list(folder: str) -> tuple[list[_File], list[tuple[str, str]], list[str]]:
    """Returns the images, the class folders as (split, class), and what else is left out."""
    names = _subfolders(folder)
    if "train" in map(str.lower, names):
        roots = [(_SPLITS[n.lower()], n) for n in names if n.lower() in _SPLITS]
        notes = [f"folder {n!r} is no split" for n in names if n.lower() not in _SPLITS]
    else:
        roots, notes = [("train", "")], []
    files, folders, others = [], [], []
    for place in sorted({"", *(root for _, root in roots)}):
        notes += [
            f"link {os.path.join(place, entry.name)!r} leads nowhere"
            for entry in os.scandir(os.path.join(folder, place))
            if not os.path.exists(entry.path) and not entry.name.startswith(".")
        ]
    for split, root in roots:
        for label in _subfolders(os.path.join(folder, root)):
            folders.append((split, label))
            for entry in os.scandir(os.path.join(folder, root, label)):
                path = os.path.join(root, label, entry.name)
                if entry.name.startswith(".") or os.path.isdir(entry.path):
                    continue
                if entry.name.lower().endswith(SUFFIXES):
                    # A link that leads nowhere is named with the damaged files.
                    size = entry.stat().st_size if os.path.isfile(entry.path) else 0
                    files.append(_File(split, label, path, size))
                else:
                    others.append(path)
    if others:
        notes.append(f"{len(others)} files that are no images by their suffix, as {min(others)!r}")
    files.sort(key=lambda file: (os.path.basename(file.path), file.label, file.path))
    return files, folders, notes


def _subfolders(folder: str) -> list[str]:
    names = sorted(
        entry.name
        for entry in os.scandir(folder)
        # Of a link to itself `entry.is_dir()` is an error.
        if os.path.isdir(entry.path) and not entry.name.startswith(".")
    )
    for name in names:
        if not name.isprintable() or name.encode("utf-8", "replace") != os.fsencode(name):
            raise InvalidValueError(f"folder {name!r} in {folder}: its name is no text; rename it")
    return names


def _look_at_all(folder: str, files: list[_File]) -> tuple[dict[str, _Look], dict[str, str]]:
    """Reads the headers; returns what they say, and why others are damaged, by path."""
    from PIL import UnidentifiedImageError

    def look(file: _File) -> _Look | str:
        try:
            return _look(os.path.join(folder, file.path))
        except InvalidValueError as error:
            return str(error)
        except UnidentifiedImageError:
            return "no PNG, JPEG, WebP or BMP image"
        except Exception as error:  # Damaged data bring about errors of any type in the decoders.
            return getattr(error, "strerror", None) or " ".join(str(error).split()) or repr(error)

    with concurrent.futures.ThreadPoolExecutor() as threads:
        # A few at a time: what waits for a thread needs more memory than a path.
        parts = (files[start : start + _AT_A_TIME] for start in range(0, len(files), _AT_A_TIME))
        found = [what for part in parts for what in threads.map(look, part)]
    pairs = [(file.path, what) for file, what in zip(files, found, strict=True)]
    looks = {path: what for path, what in pairs if isinstance(what, _Look)}
    return looks, {path: what for path, what in pairs if isinstance(what, str)}


def _look(path: str) -> _Look:
    from PIL import Image  # of the extra `train`

    if not regular_file.size(path, _MAX_BYTES):
        raise InvalidValueError("empty file")
    with Image.open(path, formats=_FORMATS) as image:
        if image.format == "BMP" and image.mode in ("1", "P"):
            raise InvalidValueError("a BMP with a palette: save it as PNG")
        code = image.getexif().get(orientation.TAG, 1) if "exif" in image.info else 1
        code = code if code in range(1, 9) else 1
        width, height = image.size if code < 5 else image.size[::-1]
        return _Look(height, width, 1 if image.mode in _GREY else 3, code)


def _classes(name: str, files: list[_File]) -> tuple[str, ...]:
    by_split = {split: {f.label for f in files if f.split == split} for split in _SPLITS.values()}
    for split in ("validation", "test"):
        if absent := by_split[split] - by_split["train"]:
            raise InvalidValueError(f"{name}: class {min(absent)!r} is in {split} but not in train")
    return check_classes(name, sorted(by_split["train"]))


def _warn(name: str, damaged: dict[str, str], notes: list[str]) -> None:
    if damaged:
        logging.warning("%s: left out as damaged: %s", name, _in_words(damaged))
    for note in notes:
        logging.warning("%s: left out: %s", name, note)


def _in_words(damaged: dict[str, str]) -> str:
    named: Iterator[str] = (f"{path} ({damaged[path]})" for path in sorted(damaged)[:_NAMED])
    more = f"; and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
    return "; ".join(named) + more
