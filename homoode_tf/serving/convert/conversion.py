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
from homoode_tf.serving.convert.signature import Signature
from homoode_tf.serving.predict import PredictionError

# Each a module with the PACKAGES that it needs and the EXTRA that installs them, and two functions:
# `translate(folder, key, ...)` gives the content of a file whose inputs and outputs have the names
# of that signature of a SavedModel, or an InvalidValueError that names what has no equivalent;
# `load(file, key, name)` gives a function from the input of that name to outputs by name.
FORMATS = {"tflite": litert, "onnx": onnx_format}
# How the weights are stored, each with the difference from the SavedModel's answers that it may
# make unless it is said otherwise.
QUANTIZATIONS = {"none": 1e-4, "float16": 0.03, "dynamic_range": 0.3}
# What the names of models of other kinds end in.
_OTHERS = {".keras", ".h5", ".pb", *(f".{name}" for name in FORMATS)}


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
        max_difference: Largest difference between its answers (a classifier's logits and
            probabilities) and the SavedModel's.
        num_images: How many inputs were compared.
    """

    path: pathlib.Path
    size: int
    max_difference: float
    num_images: int


def convert(
    saved_model: str | os.PathLike,
    output: str | os.PathLike,
    format: str,
    tolerance: float | None = None,
    quantize: str = "none",
) -> Conversion:
    """Converts a SavedModel to one file that needs no TensorFlow to run.

    That of `serving.export`, or of a Keras model's own `export`, or any whose signature `serve` or
    `serving_default` takes one float or uint8 tensor. The file takes and gives the same under the
    same names; of a classifier `images`, uint8 of shape (batch, height, width, channels) with any
    batch size, and `logits`, `probabilities` and `class`. It holds the solver's loop, so an
    adaptive solver takes as many steps as the images need. Before it takes its place, it answers
    random and plain inputs in batches of several sizes. It lacks the SavedModel's checks: where a
    solve fails, its answers mean nothing, and there is no error.

    Args:
        saved_model: The SavedModel's folder, or the one that holds its versions.
        output: The file to write; an earlier one is replaced once the new one has been compared.
        format: "tflite" or "onnx".
        tolerance: Largest difference of a number from the SavedModel's; positive. By default 1e-4,
            0.03 with float16 and 0.3 with dynamic_range.
        quantize: How a "tflite" file stores weights: "none", float32; "float16"; "dynamic_range",
            8 bits for kernels, with which it then computes.

    Returns:
        A `Conversion`.

    Raises:
        ValueError: If the format, the tolerance or the quantisation is not allowed.
        ModelError: If the folder holds no SavedModel with such a signature.
        MissingPackageError: If a package that the format needs is not installed.
        ConversionError: If an operation of the model has no equivalent, if the answers differ, or
            if the file cannot be written, as where a folder or a device is, within the SavedModel,
            or under the name of another kind of file, as model.keras; an earlier file is then still
            there.

    Example:
        >>> from homoode_tf.serving import export
        >>> layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
        >>> export.save(keras.Sequential(layers), "saved_model", (8, 8, 1))
        >>> convert("saved_model", "digits.onnx", "onnx").path.name
        'digits.onnx'
    """
    check_choice("format", format, FORMATS)
    check_choice("quantize", quantize, QUANTIZATIONS)
    tolerance = QUANTIZATIONS[quantize] if tolerance is None else tolerance
    check_number("tolerance", tolerance, above=0)
    if format != "tflite" and quantize != "none":
        raise InvalidValueError(f"quantize={quantize!r} is for the format tflite, not for {format}")
    backend, path = FORMATS[format], pathlib.Path(output)
    # What takes no time to find out comes before what does.
    _check_packages(backend)
    if reason := _why_not(path, saved_model, format):
        raise ConversionError(f"{path} cannot be written: {reason}")
    served = Signature(saved_model)
    options = {} if quantize == "none" else {"quantize": quantize}
    try:
        content = backend.translate(served.folder, served.key, **options)
    except InvalidValueError as error:
        raise ConversionError(f"{saved_model} cannot be converted to {format}: {error}") from None
    batches = served.batches()
    with _replacing(path) as new:
        _write(new, content)
        run = backend.load(new, served.key, served.input_name)
        difference = _largest_difference(served, run, batches)
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


def _why_not(path: pathlib.Path, saved_model: str | os.PathLike, format: str) -> str | None:
    """Says why a file must not, or cannot, take the place of `path`."""
    try:
        if pathlib.Path(os.path.realpath(path)).is_relative_to(os.path.realpath(saved_model)):
            return "it lies in the SavedModel, which is to be kept"
        if not os.path.isdir(path.parent):
            return "its folder does not exist"
        # What is there and has another name's ending is of another kind, as a run's own files are.
        ending = path.suffix.lower()
        is_other = ending in _OTHERS or (ending and path.is_file())
        if is_other and ending != f".{format}":
            return f"{ending} is how another kind of file ends: give a name that ends in .{format}"
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


def _largest_difference(
    served: Signature,
    run: Callable[[np.ndarray], dict[str, np.ndarray]],
    batches: list[np.ndarray],
) -> float:
    """Returns the largest difference of any number; NaN if one is not a number."""
    differences = []
    for batch in batches:
        try:
            expected = served(batch)
        except PredictionError as error:
            raise ConversionError(
                f"the SavedModel itself fails in the comparison: {error}"
            ) from None
        try:
            found = run(batch)
        except Exception as error:  # Each interpreter has errors of its own.
            raise ConversionError(
                f"the converted model fails on a batch of {len(batch)}: {reason_lines(error)[0]}"
            ) from None
        for name, value in expected.items():
            if name == "class" and "logits" in found:
                # Of logits that are within the tolerance, equal classes follow from this one.
                value = found["logits"].argmax(axis=-1)
            differences.append(_difference(found[name], value))
    return float(np.max(differences))


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape:
        return np.inf
    if not np.issubdtype(expected.dtype, np.floating):
        return np.inf if (found != expected).any() else 0.0
    return np.abs(found - expected).max(initial=0.0)
