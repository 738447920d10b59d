# SPDX-License-Identifier: Apache-2.0
"""From a SavedModel to a file of another format, compared before it is put in place."""

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator

import numpy as np

from homoode_tf import disk
from homoode_tf.checks import check_choice, check_number
from homoode_tf.errors import InvalidValueError, UserError
from homoode_tf.graph_errors import reason_lines
from homoode_tf.serving.convert import litert, onnx_format
from homoode_tf.serving.predict import PredictionError, ServedModel

# Each a module with the PACKAGES that it needs and the EXTRA that installs them, and two functions:
# `translate(saved_model)` gives the content of a file whose inputs and outputs have the names of
# the SavedModel's, or an InvalidValueError that names what has no equivalent; `load(file)` gives a
# function from images to outputs by name.
FORMATS = {"tflite": litert, "onnx": onnx_format}
# One after another: the same file must take batches that grow and shrink.
_BATCH_SIZES = (3, 7, 1)


class ConversionError(UserError, RuntimeError):
    """A SavedModel cannot be converted, or the file's answers are others than its own; one line."""

    exit_status = 1


class MissingPackageError(ConversionError):
    """A package that the format needs is not installed; the message says how to install it."""

    exit_status = 2


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What was written.

    Attributes:
        path: The file.
        size: Its size in bytes.
        max_difference: Largest difference between its logits or probabilities and the SavedModel's.
        num_images: How many images were compared.
    """

    path: pathlib.Path
    size: int
    max_difference: float
    num_images: int


def convert(
    saved_model: str | os.PathLike,
    output: str | os.PathLike,
    format: str,
    tolerance: float = 1e-4,
) -> Conversion:
    """Converts a SavedModel of `serving.export` to one file that needs no TensorFlow to run.

    The file takes `images`, uint8 of shape (batch, height, width, channels) with any batch size,
    and gives `logits`, `probabilities` and `class`, as the SavedModel's signature does. It holds
    the solver's loop, so an adaptive solver takes as many steps as the images need. Before it takes
    its place, it answers random and plain images in batches of several sizes. It lacks the
    SavedModel's checks: where a solve fails, its logits mean nothing, and there is no error.

    Args:
        saved_model: The SavedModel's folder.
        output: The file to write; an earlier one is replaced once the new one has been compared.
        format: "tflite" or "onnx".
        tolerance: Largest difference of a logit or probability from the SavedModel's; positive.

    Returns:
        A `Conversion`.

    Raises:
        ValueError: If the format or the tolerance is not allowed.
        ModelError: If the folder holds no SavedModel of `homoode_tf.serving.export`.
        MissingPackageError: If a package that the format needs is not installed.
        ConversionError: If an operation of the model has no equivalent, if the answers differ, or
            if the file cannot be written, as where a folder or a device is, or within the
            SavedModel; an earlier file is then still there.

    Example:
        >>> from homoode_tf.serving import export
        >>> layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
        >>> export.save(keras.Sequential(layers), "saved_model", (8, 8, 1))
        >>> convert("saved_model", "digits.onnx", "onnx").path.name
        'digits.onnx'
    """
    check_choice("format", format, FORMATS)
    check_number("tolerance", tolerance, above=0)
    backend, path = FORMATS[format], pathlib.Path(output)
    # What takes no time to find out comes before what does.
    _check_packages(backend)
    if reason := _why_not(path, saved_model):
        raise ConversionError(f"{path} cannot be written: {reason}")
    served = ServedModel(saved_model)
    try:
        content = backend.translate(saved_model)
    except InvalidValueError as error:
        raise ConversionError(f"{saved_model} cannot be converted to {format}: {error}") from None
    batches = _batches(served.image_shape)
    with _replacing(path) as new:
        _write(new, content)
        difference = _largest_difference(served, backend.load(new), batches)
        # NaN is not within any tolerance.
        if not difference <= tolerance:
            raise ConversionError(
                f"the {format} file of {saved_model} was discarded: its answers differ from the "
                f"SavedModel's by {difference:.2g}, more than the tolerance {tolerance:g}"
            )
    return Conversion(path, len(content), difference, sum(map(len, batches)))


def _check_packages(backend) -> None:
    missing = [name for name in backend.PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackageError(
            f"{', '.join(missing)} not installed; run: pip install -e '.[{backend.EXTRA}]'"
        )


def _why_not(path: pathlib.Path, saved_model: str | os.PathLike) -> str | None:
    """Says why a file must not, or cannot, take the place of `path`."""
    try:
        if pathlib.Path(os.path.realpath(path)).is_relative_to(os.path.realpath(saved_model)):
            return "it lies in the SavedModel, which is to be kept"
        if not os.path.isdir(path.parent):
            return "its folder does not exist"
        if not stat.S_ISREG(os.stat(path).st_mode):
            return "it is a folder" if path.is_dir() else "it is no regular file"
    except FileNotFoundError:  # So nothing is lost.
        return None
    except (OSError, ValueError) as error:  # As of a name that is too long.
        return getattr(error, "strerror", None) or str(error)
    return None


@contextlib.contextmanager
def _replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a path whose file takes the place of `path` at the end, or is removed by an error."""
    for leftover in path.parent.glob(".convert-*-*"):
        number = leftover.name.split("-")[1]
        if number.isdecimal() and not _runs(int(number)):  # It was killed.
            shutil.rmtree(leftover, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(
            prefix=f".convert-{os.getpid()}-", dir=path.parent
        ) as folder:
            new = pathlib.Path(folder, "new")
            yield new
            os.replace(new, path)
    except OSError as error:
        raise ConversionError(f"{path} cannot be written: {disk.remedy(error)}") from None


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    return True


def _write(path: pathlib.Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _batches(image_shape: tuple[int, int, int]) -> list[np.ndarray]:
    """Images that ask different things of a solver: noise of different contrast, and plain ones."""
    random, count = np.random.default_rng(0), sum(_BATCH_SIZES)
    noise = random.integers(0, 256, (count, *image_shape))
    images = noise // np.arange(1, count + 1)[:, np.newaxis, np.newaxis, np.newaxis]
    images[1], images[3] = 0, 255
    images[5] = np.linspace(0, 255, image_shape[1])[:, np.newaxis]
    images[7, ::2], images[7, 1::2] = 0, 255
    return np.split(images.astype(np.uint8), np.cumsum(_BATCH_SIZES)[:-1])


def _largest_difference(
    served: ServedModel,
    run: Callable[[np.ndarray], dict[str, np.ndarray]],
    batches: list[np.ndarray],
) -> float:
    """Returns the largest difference of logits and probabilities; NaN if one is not a number."""
    differences = []
    for images in batches:
        try:
            expected = served.predict(images)
        except PredictionError as error:
            raise ConversionError(
                f"the SavedModel itself fails in the comparison: {error}"
            ) from None
        try:
            found = run(images)
        except Exception as error:  # Each interpreter has errors of its own.
            raise ConversionError(
                f"the converted model fails on a batch of {len(images)}: {reason_lines(error)[0]}"
            ) from None
        differences += [
            np.abs(found["logits"] - expected.logits).max(),
            np.abs(found["probabilities"] - expected.probabilities).max(),
            # Of logits that are within the tolerance, equal classes follow from this one.
            np.inf if (found["class"] != found["logits"].argmax(axis=-1)).any() else 0.0,
        ]
    return float(np.max(differences))
