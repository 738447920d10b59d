# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that are whole or not there, and that say so when they are damaged."""

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import uuid
from collections.abc import Mapping

import tensorflow as tf
from absl import logging

from homoode_tf import regular_file
from homoode_tf.checks import check_flag, check_integer, check_number
from homoode_tf.errors import UserError
from homoode_tf.graph_errors import reason
from homoode_tf.serving import checksums

_MANIFEST = "manifest.json"
_PREFIX = "state"
_NAME = re.compile(r"step-(\d+)(?:\.(\d+))?")
# What reading a file that is cut short, missing, or full of something else can raise.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError)


class CheckpointError(UserError, RuntimeError):
    """A checkpoint cannot be written, or none can be read."""


@dataclasses.dataclass(frozen=True)
class Record:
    """What a checkpoint knows beside the variables.

    Attributes:
        step: Number of updates made.
        complete: Whether all that was due after this step (evaluation, metrics) was done. It is
            not where the run was interrupted meanwhile; a resumed run then does it first.
        validation_accuracy: Of these weights, or None if they were not evaluated.
        clock: What `Clock.read` returned.
    """

    step: int
    complete: bool
    validation_accuracy: float | None
    clock: Mapping[str, float]

    def __post_init__(self):
        check_integer("step", self.step, at_least=0)
        check_flag("complete", self.complete)
        if self.validation_accuracy is not None:
            check_number("validation_accuracy", self.validation_accuracy, at_least=0)
        for name, value in self.clock.items():
            check_number(name, value, at_least=0)


class Checkpoints:
    """The checkpoints of a run: the last few, and the best on validation.

    Each is a folder `step-00001234` with the variables as `tf.train.Checkpoint` writes them and a
    manifest with the size and the SHA-256 of each file, and its own. It is written under another
    name, forced to the disk and renamed when whole; older ones are deleted only then. So a process
    may be killed at any moment, and what was cut short or changed later is found out on reading;
    `tf.train.CheckpointManager` gives neither, nor the best one.

    Writing goes on in a thread while the run trains: `save` copies the variables, which takes as
    much memory again as they do, and returns. What goes wrong there is raised by the next `save`
    or `wait`. As a context manager it waits at the end, so that nothing is written any more when
    the run has ended, however it has.

    Args:
        directory: Where they are kept.
        variables: All variables under their names.
        keep: How many of the last ones are kept, at least 1.
        writes: Whether this process writes; of several workers only the chief does.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        variables: Mapping[str, tf.Variable],
        keep: int,
        writes: bool = True,
    ):
        self._directory = pathlib.Path(directory)
        self._variables = dict(variables)
        self._checkpoint = tf.train.Checkpoint(**variables)
        self._copies: dict[str, tf.Variable] = {}
        self._keep = keep
        self._writes = writes
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "checkpoints")
        self._writing: concurrent.futures.Future | None = None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, _, error: BaseException | None, __) -> None:
        try:
            self.wait()
        except CheckpointError as failure:
            if error is None:
                raise
            # The error that ended the run is the one to report.
            logging.warning("Meanwhile, %s", failure)

    def save(self, record: Record) -> None:
        """Writes a checkpoint of the variables as they are now, and deletes those not wanted.

        Returns before it is written; the one before it has been.

        Raises:
            CheckpointError: If the one before could not be written, for instance on a full disk.
                Those written earlier are then as they were.
        """
        self.wait()
        # All workers read, not only the one that writes: some variables take all of them.
        values = {name: variable.read_value() for name, variable in self._variables.items()}
        if not self._writes:
            return
        for name, value in values.items():
            if name not in self._copies:
                self._copies[name] = tf.Variable(value, trainable=False)
            self._copies[name].assign(value)
        self._writing = self._thread.submit(self._write, record)

    def wait(self) -> None:
        """Returns when the last checkpoint is written.

        Raises:
            CheckpointError: If it cannot be.
        """
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def _write(self, record: Record) -> None:
        new = self._directory / f"new-{uuid.uuid4().hex}"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            for unfinished in self._directory.glob("new-*"):  # by a process that was killed
                shutil.rmtree(unfinished, ignore_errors=True)
            new.mkdir()
            tf.train.Checkpoint(**self._copies).write(str(new / _PREFIX))
            files = {path.name: checksums.describe(path) for path in sorted(new.iterdir())}
            manifest = {**dataclasses.asdict(record), "files": files}
            manifest["sha256"] = _digest(manifest)
            (new / _MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
            for path in (*new.iterdir(), new):
                _sync(path)
            # A step that was saved before, when its evaluation was yet to be done, has a number.
            numbers = [number for step, number in map(_order, self._paths()) if step == record.step]
            suffix = f".{max(numbers) + 1}" if numbers else ""
            new.rename(self._directory / f"step-{record.step:08d}{suffix}")
            _sync(self._directory)
        except (OSError, tf.errors.OpError) as error:
            shutil.rmtree(new, ignore_errors=True)
            raise CheckpointError(
                f"the checkpoint of step {record.step} cannot be written to {self._directory}: "
                f"{reason(error)}. Earlier checkpoints are untouched."
            ) from error
        self._delete_unwanted()

    def restore_latest(self) -> Record | None:
        """Sets all variables to the last whole checkpoint's.

        Damaged ones are named in a warning and set aside under another name.

        Returns:
            Its record, or None if there never was a checkpoint.

        Raises:
            CheckpointError: If there are checkpoints and all are damaged, or one does not fit.
        """
        self.wait()
        paths = self._paths()[::-1]
        for number, path in enumerate(paths):
            record = self._restore(path)
            if record is None:
                continue
            # Out of the way of the count of checkpoints to keep, but not lost.
            for damaged in paths[:number] if self._writes else ():
                damaged.rename(damaged.with_name(f"damaged-{uuid.uuid4().hex[:8]}-{damaged.name}"))
            return record
        if paths:
            raise CheckpointError(
                f"all checkpoints in {self._directory} are damaged. Remove that folder to train "
                "from the start."
            )
        return None

    def restore_best(self) -> Record:
        """Sets all variables to the checkpoint of highest validation accuracy, of equals the last.

        Returns:
            Its record.

        Raises:
            CheckpointError: If no whole checkpoint was evaluated, or one does not fit.
        """
        self.wait()
        records = {path: self._read(path) for path in self._paths()}
        for path in _by_accuracy(records):
            records[path] = self._restore(path)
            if records[path] is not None:
                return records[path]
        if damaged := list(records.values()).count(None):
            raise CheckpointError(
                f"{damaged} of {len(records)} checkpoints in {self._directory} are damaged, and "
                "none of the others was evaluated on validation. Give the training command again "
                "if it has not come to its end; otherwise train anew, in another workdir."
            )
        raise CheckpointError(
            f"{self._directory} holds no checkpoint that was evaluated on validation; train first, "
            "at least to the end of the first epoch."
        )

    def _restore(self, path: pathlib.Path) -> Record | None:
        """Sets all variables to a checkpoint's and returns its record; None if it is damaged."""
        record = self._read(path, with_files=True)
        if record is not None:
            try:
                self._checkpoint.read(str(path / _PREFIX)).assert_consumed()
            except (AssertionError, ValueError, tf.errors.OpError) as error:
                raise CheckpointError(
                    f"checkpoint {path} is whole, but does not fit the model that the config "
                    f"describes: {reason(error)}"
                ) from error
        return record

    def _read(self, path: pathlib.Path, with_files: bool = False) -> Record | None:
        """Returns a checkpoint's record; None, with a warning, if it is damaged."""
        try:
            return _read_manifest(path, with_files)
        except _DAMAGE as error:
            logging.warning("Checkpoint %s is damaged (%s) and left out.", path, reason(error))
            return None

    def _paths(self) -> list[pathlib.Path]:
        """The checkpoints in the order in which they were written."""
        if not self._directory.is_dir():
            return []
        found = [path for path in self._directory.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(found, key=_order)

    def _delete_unwanted(self) -> None:
        paths = self._paths()
        # Of one step only the last counts.
        latest = list({_order(path)[0]: path for path in paths}.values())
        best = _by_accuracy({path: self._read(path) for path in latest})[:1]
        for path in set(paths) - {*latest[-self._keep :], *best}:
            shutil.rmtree(path, ignore_errors=True)


def _order(path: pathlib.Path) -> tuple[int, int]:
    step, number = _NAME.fullmatch(path.name).groups()
    return int(step), int(number or 0)


def _by_accuracy(records: Mapping[pathlib.Path, Record | None]) -> list[pathlib.Path]:
    """Those that were evaluated, the best first, of equals the last first."""
    accuracies = {path: record and record.validation_accuracy for path, record in records.items()}
    evaluated = [path for path, accuracy in accuracies.items() if accuracy is not None]
    return sorted(evaluated, key=lambda path: (accuracies[path], _order(path)), reverse=True)


def _read_manifest(path: pathlib.Path, with_files: bool) -> Record:
    """Returns a checkpoint's record; what is wrong with it raises one of `_DAMAGE`."""
    manifest = regular_file.read_json(path / _MANIFEST)
    # Absent where an earlier version has written it.
    digest = manifest.pop("sha256", None)
    if digest is not None and digest != _digest(manifest):
        raise ValueError(f"{_MANIFEST} is not what was written")
    files = manifest.pop("files")
    record = Record(**manifest)
    if record.step != _order(path)[0] or not files:
        raise ValueError(f"{_MANIFEST} is that of another checkpoint")
    if with_files:
        checksums.verify(path, files)
    return record


def _digest(manifest: Mapping) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _sync(path: pathlib.Path) -> None:
    """Makes sure that a file or a folder survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
