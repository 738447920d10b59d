# SPDX-License-Identifier: Apache-2.0
"""Metrics on disk: one JSON line a logged step, and events for TensorBoard."""

import io
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from google.protobuf import struct_pb2
from PIL import Image

from homoode_tf import regular_file
from homoode_tf.disk import write_atomically
from homoode_tf.errors import InvalidValueError

_LARGEST = 2**30
_VALIDATION = "validation_"
# What runs of earlier versions call a metric, and what it is.
_RENAMED = {"initial_point_loss": "added_loss"}


def _metadata(plugin: str, data_class: int = 0, content: bytes = b"") -> Any:
    # What `tf.summary` writes, which needs TensorBoard to be installed; reading needs it only.
    data = {"plugin_name": plugin, "content": content}
    return tf.compat.v1.SummaryMetadata(plugin_data=data, data_class=data_class)


_SCALAR, _IMAGE = _metadata("scalars", data_class=1), _metadata("images", data_class=3)


class MetricsWriter:
    """Appends metrics to a JSON-lines file and to TensorBoard events.

    Of the events those of training and of validation are runs of their own, `train` and
    `validation`, in which the same number has the same name: TensorBoard draws both in one chart.

    Lines and events of steps after `step` are removed first: a run that was killed has logged steps
    that its resumed process makes again, and no step shall stand in a file twice.

    Args:
        path: The JSON-lines file.
        events: Folder of the events.
        step: The step that training goes on from.
        writes: Whether this process writes; of several workers only the chief does.

    Example:
        >>> path = pathlib.Path("metrics.jsonl")
        >>> with MetricsWriter(path, pathlib.Path("events"), step=0) as metrics:
        ...     metrics.write(50, {"loss": 0.7})
        >>> read_metrics(path)
        [{'step': 50, 'loss': 0.7}]
    """

    def __init__(self, path: pathlib.Path, events: pathlib.Path, step: int, writes: bool = True):
        self._file = None
        if not writes:
            return
        if path.exists():
            kept = [line for line in read_metrics(path) if line["step"] <= step]
            write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept))
        for file in events.rglob("*.tfevents.*"):
            if file.is_file():  # Reading a pipe might not end.
                _remove_later_events(file, step)
        self._file = path.open("a", encoding="utf-8")
        self._events, self._train, self._validation = (
            tf.summary.create_file_writer(str(folder))
            for folder in (events, events / "train", events / "validation")
        )

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_) -> None:
        if self._file is not None:
            self._file.close()
            for writer in (self._events, self._train, self._validation):
                writer.close()

    def write(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Writes one line, so that it is on disk when this returns.

        Args:
            step: The step that the metrics belong to.
            metrics: Finite numbers under their names; None for the mean of nothing.
        """
        if self._file is None:
            return
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._file.flush()
        for name, value in metrics.items():
            if value is None:
                continue
            writer = self._validation if name.startswith(_VALIDATION) else self._train
            with writer.as_default(step=step):
                tag = name.removeprefix(_VALIDATION)
                tf.summary.write(tag, tf.constant(value, tf.float32), metadata=_SCALAR)
        self._train.flush()
        self._validation.flush()

    def show(self, step: int, pictures: Mapping[str, Image.Image]) -> None:
        """Adds pictures of an evaluation on validation to the events, under their names."""
        if self._file is None:
            return
        with self._validation.as_default(step=step):
            for name, picture in pictures.items():
                png = io.BytesIO()
                picture.save(png, "png")
                content = [*map(str, picture.size), png.getvalue()]
                tf.summary.write(name, tf.constant(content), metadata=_IMAGE)
        self._validation.flush()

    def describe(self, fields: Mapping[str, Any]) -> None:
        """Adds the config, under dotted names, to the events: TensorBoard's hyperparameters."""
        if self._file is None:
            return
        values = struct_pb2.Struct()
        for name, value in fields.items():
            values[name] = value if isinstance(value, bool | int | float | str) else str(value)
        # TensorBoard's HParamsPluginData, whose third field is a session; the first field of that
        # is the same map as a Struct's.
        session = values.SerializeToString()
        content = b"\x1a" + _varint(len(session)) + session
        with self._events.as_default(step=0):
            tag = "_hparams_/session_start_info"
            tf.summary.write(tag, tf.zeros([1]), metadata=_metadata("hparams", content=content))
        self._events.flush()


def _varint(number: int) -> bytes:
    """A length as protocol buffers write it: seven bits a byte, the lowest first."""
    high, low = divmod(number, 128)
    return bytes([low | 128]) + _varint(high) if high else bytes([low])


def _remove_later_events(path: pathlib.Path, step: int) -> None:
    kept, is_whole = [], True
    try:
        for record in tf.data.TFRecordDataset(str(path)):
            kept.append(record.numpy())
            if tf.compat.v1.Event.FromString(kept[-1]).step > step:
                is_whole = False
                kept.pop()
    except tf.errors.DataLossError:  # Cut short by a kill.
        is_whole = False
    if is_whole:
        return
    new = path.with_name("new")
    with tf.io.TFRecordWriter(str(new)) as file:
        for record in kept:
            file.write(record)
    new.replace(path)


def read_metrics(path: pathlib.Path) -> list[dict[str, Any]]:
    """Reads the lines that `MetricsWriter` has written.

    Metrics of earlier versions have the names of today. Lines that are no JSON object with a step
    are left out: the last line of a process that was killed while it wrote, or that still writes,
    may be cut short.

    Args:
        path: The JSON-lines file; it must exist.

    Returns:
        One mapping a line, with its `step` and the metrics of that step.

    Raises:
        InvalidValueError: If it is no regular file of at most 1 GiB.
    """
    try:
        content = regular_file.read(path, _LARGEST)
    except InvalidValueError as error:
        raise InvalidValueError(f"{path} cannot be read: {error}") from None
    lines = []
    for text in content.decode("utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append({_RENAMED.get(name, name): value for name, value in line.items()})
    return lines
