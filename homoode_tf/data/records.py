# SPDX-License-Identifier: Apache-2.0
"""Records of files, read one by one in any order: what lets TFRecords and arrays stream."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import struct
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# Of a TFRecord: its length and that number's checksum before it, its checksum behind it.
_BEFORE, _BEHIND = 12, 4
_BATCH = 2**16


@dataclasses.dataclass(frozen=True)
class Records:
    """Places of byte strings in files.

    Attributes:
      paths: The files.
      files: Which of them each record is in, int64 (records,).
      offsets: Where its bytes begin, int64 (records,).
      lengths: Their number, int64 (records,).
    """

    paths: Sequence[str]
    files: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray

    def read(self, index: tf.Tensor) -> tf.Tensor:
        """Returns the bytes of a record, a scalar string, within a graph."""
        # TensorFlow's own readers go through a file from its beginning to get anywhere.
        found = tf.numpy_function(self._read, [index], tf.string, stateful=False)
        return tf.ensure_shape(found, [])

    def _read(self, index: np.ndarray) -> bytes:
        path, length = self.paths[self.files[index]], self.lengths[index]
        with open(path, "rb", buffering=0) as file:
            found = os.pread(file.fileno(), length, self.offsets[index])
        if len(found) < length:
            raise OSError(f"{path} is cut off")
        return found

    def interleaved(self, cycle_length: int, block_length: int) -> Records:
        """Returns them in the order in which `tf.data.Dataset.interleave` reads the files."""
        ends = np.searchsorted(self.files, np.arange(len(self.paths)), side="right")
        starts = np.concatenate([[0], ends[:-1]])

        def of_file(file):
            return tf.data.Dataset.range(tf.constant(starts)[file], tf.constant(ends)[file])

        order = tf.data.Dataset.range(len(self.paths)).interleave(
            of_file, cycle_length=cycle_length, block_length=block_length
        )
        chosen = np.concatenate(list(order.batch(_BATCH).as_numpy_iterator()))
        columns = (self.files[chosen], self.offsets[chosen], self.lengths[chosen])
        return Records(self.paths, *columns)


def of_tfrecords(paths: Sequence[pathlib.Path]) -> Records:
    """Finds the records of TFRecord files, in their order; only the lengths are read.

    Raises:
      OSError: A file ends within a record.
    """
    places: list[tuple[int, int, int]] = []
    for number, path in enumerate(paths):
        with path.open("rb") as file:
            size = file.seek(0, 2)
            position = file.seek(0)
            while position < size:
                head = file.read(8)
                length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
                places.append((number, position + _BEFORE, length))
                position = file.seek(position + _BEFORE + length + _BEHIND)
            if position > size:
                raise OSError(f"{path} is cut off")
    columns = np.array(places, np.int64).reshape(-1, 3).T
    return Records([os.fspath(path) for path in paths], *columns)


def of_array(path: str, offset: int, number: int, length: int) -> Records:
    """The rows of an array that lies in a file, each of `length` bytes."""
    offsets = offset + length * np.arange(number, dtype=np.int64)
    files, lengths = np.zeros(number, np.int64), np.full(number, length, np.int64)
    return Records([path], files, offsets, lengths)
