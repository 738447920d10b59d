# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that are whole or not there, and that say so when they are damaged."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import pathlib
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence

import tensorflow as tf
from absl import logging

from homoode_tf import disk, regular_file
from homoode_tf.checks import check_flag, check_integer, check_number
from homoode_tf.errors import UserError
from homoode_tf.graph_errors import reason
from homoode_tf.serving import checksums

_MANIFEST = "manifest.json"
_PREFIX = "state"
# Being written, or being deleted.
_UNFINISHED = "new-"
_NAME = re.compile(r"step-(\d+)(?:\.(\d+))?")
# What reading a file that is cut short, missing, or full of something else can raise.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError)


class CheckpointError(UserError, RuntimeError):
    """A checkpoint cannot be written, or the one that is wanted cannot be read."""


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
    manifest with the size and the SHA-256 of each file, its own, and what tells the run's config.
    It is written under another name, forced to the disk and renamed when whole; older ones are
    deleted only then. So a process may be killed at any moment, and what was cut short or changed
    later is found out on reading; `tf.train.CheckpointManager` gives neither, nor the best one.

    Writing goes on in a thread while the run trains: `save` copies the variables, which takes as
    much memory again as they do, and returns. What goes wrong there is raised by the next `save`
    or `wait`. As a context manager it waits at the end, so that nothing is written any more when
    the run has ended, however it has.

    Args:
        directory: Where they are kept.
        variables: All variables under their names.
        keep: How many of the last ones are kept, at least 1.
        configs: What tells the run's config from others, then those that made it before its epochs
            were raised; a checkpoint with another one is refused.
        writes: Whether this process writes; of several workers only the chief does.

    Attributes:
        restored: Tells the checkpoint that the variables were last set to; "none" before.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        variables: Mapping[str, tf.Variable],
        keep: int,
        configs: Sequence[str] = ("",),
        writes: bool = True,
    ):
        self._directory = pathlib.Path(directory)
        self._configs = list(configs)
        self.restored = "none"
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
        new = self._directory / f"{_UNFINISHED}{uuid.uuid4().hex}"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            new.mkdir()
            tf.train.Checkpoint(**self._copies).write(str(new / _PREFIX))
            files = {path.name: checksums.describe(path) for path in sorted(new.iterdir())}
            manifest = {**dataclasses.asdict(record), "config": self._configs[0], "files": files}
            manifest["sha256"] = _digest(manifest)
            (new / _MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
            for path in (*new.iterdir(), new):
                disk.sync(path)
            # A step that was saved before, when its evaluation was yet to be done, has a number.
            numbers = [
                number
                for step, number in map(_order, _paths(self._directory))
                if step == record.step
            ]
            suffix = f".{max(numbers) + 1}" if numbers else ""
            new.rename(self._directory / f"step-{record.step:08d}{suffix}")
            disk.sync(self._directory)
        except (OSError, tf.errors.OpError) as error:
            shutil.rmtree(new, ignore_errors=True)
            raise CheckpointError(
                f"the checkpoint of step {record.step} cannot be written to {self._directory}: "
                f"{disk.remedy(error, reason(error))}. Earlier checkpoints are untouched."
            ) from error
        self._delete_unwanted()

    def restore_latest(self) -> Record | None:
        """Sets all variables to the last whole checkpoint's.

        Damaged ones are named in a warning and set aside under another name.

        Returns:
            Its record, or None if there never was a checkpoint.

        Raises:
            CheckpointError: If there are checkpoints and all are damaged, or the last does not fit.
        """
        self.wait()
        if self._writes:
            for unfinished in self._directory.glob(f"{_UNFINISHED}*"):  # by a killed process
                shutil.rmtree(unfinished, ignore_errors=True)
        paths = _paths(self._directory)[::-1]
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

    def restore_best(self, second_best: bool = False) -> Record:
        """Sets all variables to the checkpoint of highest validation accuracy, of equals the last.

        Args:
            second_best: Whether the next best may do, with a warning, where the best is damaged.

        Returns:
            Its record.

        Raises:
            CheckpointError: If no whole checkpoint was evaluated, or one does not fit, or the best
                is damaged.
        """
        self.wait()
        records = {path: self._read(path) for path in self._latest()}
        # One whose manifest cannot be read may have been the best.
        damaged = [path for path, record in records.items() if record is None]
        for path in _by_accuracy(records):
            if damaged and not second_best:
                break
            if (record := self._restore(path)) is not None:
                return record
            damaged.append(path)
        if not all(path.exists() for path in damaged):
            # A run that goes on has replaced it meanwhile.
            return self.restore_best(second_best)
        if damaged and second_best:
            raise CheckpointError(
                f"{len(damaged)} of {len(records)} checkpoints in {self._directory} are damaged, "
                "and none of the others was evaluated on validation. Give the training command "
                "again if it has not come to its end; otherwise train anew, in another workdir."
            )
        if damaged:
            raise CheckpointError(
                f"checkpoint {damaged[0]} is damaged, and is or may have been the best. Nothing "
                "was changed: put it back from a copy, or give --second_best to take the next best."
            )
        raise CheckpointError(
            f"{self._directory} holds no checkpoint that was evaluated on validation; train first, "
            "at least to the end of the first epoch."
        )

    def each(self) -> Iterator[Record]:
        """Sets all variables to one kept checkpoint's after the other, by step; yields its record.

        Raises:
            CheckpointError: If one does not fit; a damaged one is left out, with a warning.
        """
        for path in self._latest():
            if (record := self._restore(path)) is not None:
                yield record

    def _restore(self, path: pathlib.Path) -> Record | None:
        """Sets all variables to a checkpoint's; returns its record, or None if damaged or gone."""
        record = self._read(path, with_files=True)
        if record is not None:
            try:
                self._checkpoint.read(str(path / _PREFIX)).assert_consumed()
            except (AssertionError, ValueError, tf.errors.OpError) as error:
                if not path.exists():
                    return None
                raise CheckpointError(
                    f"checkpoint {path} is whole, but does not fit the model that the config "
                    f"describes: {reason(error)}"
                ) from error
            digest = str(checksums.describe(path / _MANIFEST)["sha256"])
            self.restored = f"{path.name} ({digest[:8]})"
        return record

    def _read(self, path: pathlib.Path, with_files: bool = False) -> Record | None:
        """Returns a checkpoint's record; None if it is gone or, with a warning, damaged."""
        try:
            record, config = _read_manifest(path, with_files)
        except _DAMAGE as error:
            if path.exists():
                logging.warning("Checkpoint %s is damaged (%s) and left out.", path, reason(error))
            return None
        if config not in (None, *self._configs):
            raise CheckpointError(
                f"checkpoint {path} was made by another config. Give the config that made it, or "
                "another --workdir."
            )
        return record

    def _latest(self) -> list[pathlib.Path]:
        """The checkpoints in the order in which they were written, of each step only the last."""
        return list({_order(path)[0]: path for path in _paths(self._directory)}.values())

    def _delete_unwanted(self) -> None:
        latest = self._latest()
        records = {path: self._read(path) for path in latest}
        damaged = [path for path, record in records.items() if record is None]
        best = _by_accuracy(records)[:1]
        for path in set(_paths(self._directory)) - {*latest[-self._keep :], *best, *damaged}:
            disk.remove_folder(path, f"{_UNFINISHED}{uuid.uuid4().hex}")


def made_by(directory: pathlib.Path) -> set[str | None]:
    """Returns what tells the configs of the checkpoints in a folder, as `configs` of `Checkpoints`.

    None stands for those of earlier versions, which do not tell; damaged ones are left out.
    """
    found = set()
    for path in _paths(directory):
        with contextlib.suppress(*_DAMAGE):
            found.add(_read_manifest(path, with_files=False)[1])
    return found


def _paths(directory: pathlib.Path) -> list[pathlib.Path]:
    """The checkpoints in a folder, in the order in which they were written."""
    if not directory.is_dir():
        return []
    return sorted((p for p in directory.iterdir() if _NAME.fullmatch(p.name)), key=_order)


def _order(path: pathlib.Path) -> tuple[int, int]:
    step, number = _NAME.fullmatch(path.name).groups()
    return int(step), int(number or 0)


def _by_accuracy(records: Mapping[pathlib.Path, Record | None]) -> list[pathlib.Path]:
    """Those that were evaluated, the best first, of equals the last first."""
    accuracies = {path: record and record.validation_accuracy for path, record in records.items()}
    evaluated = [path for path, accuracy in accuracies.items() if accuracy is not None]
    return sorted(evaluated, key=lambda path: (accuracies[path], _order(path)), reverse=True)


def _read_manifest(path: pathlib.Path, with_files: bool) -> tuple[Record, str | None]:
    """Returns a checkpoint's record and its config; what is wrong raises one of `_DAMAGE`."""
    manifest = regular_file.read_json(path / _MANIFEST)
    # Both are absent where an earlier version has written it.
    digest = manifest.pop("sha256", None)
    if digest is not None and digest != _digest(manifest):
        raise ValueError(f"{_MANIFEST} is not what was written")
    config, files = manifest.pop("config", None), manifest.pop("files")
    record = Record(**manifest)
    if record.step != _order(path)[0] or not files:
        raise ValueError(f"{_MANIFEST} is that of another checkpoint")
    if with_files:
        checksums.verify(path, files)
    return record, config


def _digest(manifest: Mapping) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
