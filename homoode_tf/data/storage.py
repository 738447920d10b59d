# SPDX-License-Identifier: Apache-2.0
"""Data sets on disk: where they are, how they get there, and reading a split into memory."""

from __future__ import annotations

import contextlib
import difflib
import glob
import io
import os
import re
import shlex
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from absl import logging

from homoode_tf import disk, extras
from homoode_tf.checks import check_path
from homoode_tf.data import catalog
from homoode_tf.data.source import fit, in_parallel
from homoode_tf.errors import InvalidValueError, UserError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

PREFIX = "tfds:"
_READ_BATCH = 1024
_CONNECTION_TIMEOUT = 10  # seconds
_VERSION = re.compile(r"\d+\.\d+\.\d+")


class DataNotFoundError(UserError, FileNotFoundError):
    """A data set is not on disk; the message says the command that fetches it."""


@extras.explaining()
def prepare(name: str, data_dir: str | os.PathLike | None = None) -> tfds.core.DatasetBuilder:
    """Writes a data set to disk where it is not there yet, downloading what it needs.

    Args:
      name: One of `names()`, or `tfds:NAME` for any image classification of TFDS.
      data_dir: The folder of TFDS data sets; None is TFDS's default, `~/tensorflow_datasets`.

    Returns:
      The TFDS builder of the prepared data set.

    Raises:
      InvalidValueError: The name is unknown, the data set is no image classification, or
        `data_dir` is a folder of something else.
      OSError: `data_dir` cannot be written, there is no network (ConnectionError), or the user's
        own download is not where it should be (FileNotFoundError).
      MissingExtraError: A package of the extra `train` is not installed.

    Example:
      >>> prepare("digits", data_dir="data").info.splits["test"].num_examples
      360
    """
    import tensorflow_datasets as tfds

    check_name(name)
    data_dir = _resolve(data_dir)
    found = _open(name, data_dir)
    if found is not None:
        return found
    # Never from TFDS's bucket: digits must not wait for a network that is not there, and the
    # others are made from their authors' files.
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    builder = _source_builder(name, data_dir)
    supervised_keys(builder.info)
    _require_network(builder, data_dir)
    try:
        with _silence() if name == "digits" else contextlib.nullcontext():
            builder.download_and_prepare(download_config=config)
    except Exception:
        # TFDS writes to a folder of its own and renames it at the end. When another process was
        # quicker the rename fails, and its result, which is the same, is there to be used.
        found = _open(name, data_dir)
        if found is None:
            raise
        return found
    return _open(name, data_dir)


def open_prepared(name: str, data_dir: str | os.PathLike | None) -> tfds.core.DatasetBuilder:
    """Returns the builder of a data set on disk; `digits` is written there first if need be.

    Raises:
      InvalidValueError: The name is unknown, or `data_dir` is a folder of something else.
      DataNotFoundError: The data set is not in `data_dir`.
      OSError: `digits` cannot be written to `data_dir`; a PermissionError for example.
    """
    check_name(name)
    resolved = _resolve(data_dir)
    found = _open(name, resolved)
    if found is not None:
        return found
    if name != "digits":
        _check_known(name)
        raise DataNotFoundError(_how_to_fetch(name, data_dir, resolved))
    try:
        return prepare(name, data_dir)
    except OSError as error:
        # The error number chooses the subclass: PermissionError stays PermissionError.
        raise OSError(
            error.errno,
            f"cannot write the digits data set to data_dir {resolved!r} "
            f"({disk.remedy(error)}); give a data_dir that can be written",
        ) from error


def supervised_keys(info: tfds.core.DatasetInfo) -> tuple[str, str]:
    """Returns the names of the image and of the label in the examples of a data set.

    Raises:
      InvalidValueError: It is no image classification.
    """
    import tensorflow_datasets as tfds

    features = info.features
    known = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    keys = info.supervised_keys
    if keys is None:  # The only ones of their kind.
        keys = [[k for k, feature in known.items() if isinstance(feature, kind)] for kind in kinds]
        keys = [names[0] if len(names) == 1 else "" for names in keys]
    if len(keys) != 2 or not all(map(isinstance, map(known.get, keys), kinds)):
        raise InvalidValueError(
            f"{info.name} of TFDS is no image classification: expected one image and one class "
            f"label, found {', '.join(sorted(known)) or type(features).__name__}"
        )
    return tuple(keys)


def read_split(
    builder: tfds.core.DatasetBuilder,
    split: str,
    keys: tuple[str, str] = ("image", "label"),
    shape: tuple[int, int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads a whole split into memory, in the order in which it lies on disk.

    Args:
      builder: The builder of a prepared data set.
      split: "train" or "test".
      keys: Of the image and of the label, as `supervised_keys` gives them.
      shape: What the images are brought to; None leaves them as they are.

    Returns:
      images: uint8 array (examples, height, width, channels).
      labels: int64 array (examples,).

    Raises:
      OSError: The files are damaged, or hold fewer or more examples than their description says.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    expected = builder.info.splits[split].num_examples
    dataset = builder.as_dataset(
        split=split,
        shuffle_files=False,
        # TFDS's own cache would keep a second copy in memory.
        read_config=tfds.ReadConfig(try_autocache=False),
    )
    shape = shape or tuple(builder.info.features[keys[0]].shape)
    dataset = in_parallel(dataset, lambda row: (fit(row[keys[0]], shape), row[keys[1]]))
    images = np.empty((expected, *shape), np.uint8)
    labels = np.empty(expected, np.int64)
    count = 0
    problem = None
    try:
        for batch in dataset.batch(_READ_BATCH).prefetch(1).as_numpy_iterator():
            size = len(batch[1])
            if count + size <= expected:
                images[count : count + size], labels[count : count + size] = batch
            count += size
    except tf.errors.OpError as error:
        problem = error
    if problem is not None or count != expected:
        raise OSError(
            f"split {split!r} of {builder.info.full_name} is damaged: read {count} of {expected} "
            f"examples; delete {builder.data_dir} and prepare the data set again"
        ) from problem
    return images, labels


def _resolve(data_dir: str | os.PathLike | None) -> str:
    if data_dir is None:
        from tensorflow_datasets.core import constants

        data_dir = constants.DATA_DIR
    if not os.fspath(data_dir):
        raise InvalidValueError("data_dir must be a folder, got an empty name")
    # TFDS reads from other file systems too.
    data_dir = check_path("data_dir", data_dir, remote=True)
    if os.path.isdir(data_dir) and not _is_for_data_sets(data_dir):
        raise InvalidValueError(
            f"data_dir {data_dir!r} holds no TFDS data sets but other things: give an empty or a "
            f"new folder; to train on images in it, --config.dataset=folder:{data_dir}"
        )
    return data_dir


def _is_for_data_sets(folder: str) -> bool:
    """Whether a folder is empty, or TFDS has written to it: nothing goes among a user's images."""
    names = [name for name in os.listdir(folder) if not name.startswith(".")]
    versions = (
        path
        for depth in ("*/*/", "*/*/*/")  # NAME/VERSION, NAME/CONFIG/VERSION
        for path in glob.iglob(os.path.join(folder, depth))
        if _VERSION.match(os.path.basename(os.path.dirname(path)))
    )
    known = {"downloads", *catalog.names()}
    return not names or not known.isdisjoint(names) or any(versions)


def check_name(name: str) -> None:
    """Refuses, with an `InvalidValueError`, what is neither in the catalog nor `tfds:NAME`."""
    if not (isinstance(name, str) and name.startswith(PREFIX)):
        catalog.find(name)


def _check_form(name: str) -> None:
    """Refuses, with an `InvalidValueError`, what TFDS cannot take for a name."""
    from tensorflow_datasets.core import naming

    try:
        naming.parse_builder_name_kwargs(name.removeprefix(PREFIX))
    except ValueError:
        raise InvalidValueError(
            f"{name!r} is no name of a data set: expected {PREFIX}NAME, as TFDS lists them, with "
            "/CONFIG or :1.0.0, a version, behind it if need be"
        ) from None


def _check_known(name: str) -> None:
    """Refuses, with an `InvalidValueError`, what TFDS could not make either."""
    import tensorflow_datasets as tfds

    wanted = re.split("[/:]", name.removeprefix(PREFIX))
    known = [*catalog.names(), *tfds.list_builders(with_community_datasets=False)]
    # Before a colon that is no version's stands whose it is: of those nothing is known here.
    is_others = len(wanted) > 1 and f"{wanted[0]}:{wanted[1]}" in name and wanted[1].isidentifier()
    if wanted[0] not in known and not is_others:
        raise _unknown(name, known)


def _unknown(name: str, known: Sequence[str] = ()) -> InvalidValueError:
    wanted = name.removeprefix(PREFIX)
    near = difflib.get_close_matches(wanted, known, n=1)
    hint = f". Did you mean {PREFIX}{near[0]}?" if near else "; tfds.list_builders() lists them"
    return InvalidValueError(f"TFDS knows no data set {wanted!r}{hint}")


def _source_builder(name: str, data_dir: str) -> tfds.core.DatasetBuilder:
    """The builder that can make the data set."""
    import tensorflow_datasets as tfds

    import homoode_tf.data.digits
    import homoode_tf.data.tiny_imagenet  # noqa: F401  (both register their builders)

    try:
        return tfds.builder(name.removeprefix(PREFIX), data_dir=data_dir, try_gcs=False)
    except tfds.core.registered.DatasetNotFoundError:
        raise _unknown(name) from None


def _open(name: str, data_dir: str) -> tfds.core.DatasetBuilder | None:
    """The builder of the data set in `data_dir`, from its files alone, or None."""
    import tensorflow_datasets as tfds

    wanted = name.removeprefix(PREFIX)
    _check_form(name)
    if wanted == "digits":
        from homoode_tf.data.digits import Digits

        # Of this version only: another one may be divided otherwise.
        wanted = f"digits:{Digits.VERSION}"
    # Of the others any version on disk: a newer TFDS must not ask for a second download.
    try:
        return tfds.core.read_only_builder.builder_from_files(wanted, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError:
        return None
    except OSError:
        raise
    except Exception as error:  # Damaged files bring about errors of any type.
        reason = " ".join(str(error).split()) or type(error).__name__
        if "://" in data_dir:  # where a network or an address that fails is likelier than damage
            raise OSError(
                f"data set {name!r} cannot be read from data_dir {data_dir!r}: see that the "
                f"address is right and can be reached, or copy it to this machine ({reason})"
            ) from error
        raise OSError(
            f"the description of data set {name!r} in {data_dir!r} is damaged ({reason}); delete "
            "it there and prepare the data set again"
        ) from error


def _require_network(builder: tfds.core.DatasetBuilder, data_dir: str) -> None:
    """Fails at once where TFDS would first try for several minutes."""
    if not builder.url_infos:
        return
    for _, _, files in os.walk(os.path.join(data_dir, "downloads")):
        if any(".tmp." not in file for file in files):
            return  # what is needed may have been downloaded before: TFDS finds out
    address = urllib.parse.urlsplit(next(iter(builder.url_infos)))
    try:
        site = f"{address.scheme}://{address.netloc}/"
        urllib.request.urlopen(site, timeout=_CONNECTION_TIMEOUT).close()
    except urllib.error.HTTPError:
        return  # the site answers
    except OSError as error:
        raise ConnectionError(
            f"cannot reach {site}, from which {builder.name} is downloaded ({error})"
        ) from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """TFDS reports on half a second's work as on a download of an hour: nobody needs that."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)


def _how_to_fetch(name: str, data_dir: str | os.PathLike | None, resolved: str) -> str:
    command = f"python -m homoode_tf.data {name}"
    if data_dir is not None:
        command += f" --data_dir {shlex.quote(os.fspath(data_dir))}"
    if catalog.is_own(name):  # a command of its own would not know it
        command = f"homoode_tf.data.prepare({name!r}, {resolved!r})"
    message = f"dataset {name!r} is not in data_dir {resolved!r}. Fetch it with\n  {command}"
    if name == "tiny_imagenet":
        manual_dir = os.path.join(resolved, "downloads", "manual")
        message += f"\nafter putting tiny-imagenet-200.zip into {manual_dir!r}"
    return message
