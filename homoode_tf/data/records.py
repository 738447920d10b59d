# SPDX-License-Identifier: Apache-2.0
"""Records of files, read one by one in any order: what lets TFRecords and arrays stream."""

from __future__ import annotations

import dataclasses
import functools
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
      sizes: Their sizes, int64 (files,).
      files: Which of them each record is in, int64 (records,).
      offsets: Where its bytes begin, int64 (records,).
      lengths: Their number, int64 (records,).
    """

    paths: Sequence[str]
    sizes: np.ndarray
    files: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray

    def read(self, index: tf.Tensor) -> tf.Tensor:
        """Returns the bytes of a record, a scalar string, within a graph."""
        paths, sizes, files, offsets, lengths = self._tensors
        file, offset, length = files[index], offsets[index], lengths[index]
        found = tf.data.FixedLengthRecordDataset(
            paths[file], length, offset, sizes[file] - offset - length, buffer_size=length
        )
        return found.get_single_element()

    @functools.cached_property
    def _tensors(self) -> list[tf.Tensor]:
        # Outside of any graph, in which they would be copied.
        with tf.init_scope(), tf.device("CPU:0"):
            columns = (self.paths, self.sizes, self.files, self.offsets, self.lengths)
            return [tf.constant(column) for column in columns]

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
        return Records(self.paths, self.sizes, *columns)


def of_tfrecords(paths: Sequence[pathlib.Path]) -> Records:
    """Finds the records of TFRecord files, in their order; only the lengths are read.

    Raises:
      OSError: A file ends within a record.
    """
    sizes, places = [], []
    for number, path in enumerate(paths):
        with path.open("rb") as file:
            sizes.append(file.seek(0, 2))
            position = file.seek(0)
            while position < sizes[-1]:
                head = file.read(8)
                length = struct.unpack("<Q", head)[0] if len(head) == 8 else sizes[-1]
                places.append((number, position + _BEFORE, length))
                position = file.seek(position + _BEFORE + length + _BEHIND)
            if position > sizes[-1]:
                raise OSError(f"{path} is cut off")
    columns = np.array(places, np.int64).reshape(-1, 3).T
    return Records([os.fspath(path) for path in paths], np.array(sizes, np.int64), *columns)


def of_array(path: str, size: int, offset: int, number: int, length: int) -> Records:
    """The rows of an array that lies in a file, each of `length` bytes."""
    offsets = offset + length * np.arange(number, dtype=np.int64)
    files, lengths = np.zeros(number, np.int64), np.full(number, length, np.int64)
    return Records([path], np.array([size], np.int64), files, offsets, lengths)
