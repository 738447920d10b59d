# SPDX-License-Identifier: Apache-2.0
"""The Keras model that a run keeps, back from its file."""

import os
import pathlib
import zipfile

import keras

from homoode_tf.checks import check_path
from homoode_tf.errors import InvalidValueError
from homoode_tf.graph_errors import reason

# In the folder of a run.
FILE_NAME = "model.keras"


def load(source: str | os.PathLike) -> keras.Model:
    """Returns the Keras model of a run, with the weights of its best checkpoint.

    Args:
        source: The run's folder, or a `.keras` file.

    Returns:
        For a run an `models.ImageClassifier`: uint8 or float images of shape (batch, height, width,
        channels) in 0..255 to float32 logits of shape (batch, classes).

    Raises:
        InvalidValueError: If there is no such file, or it cannot be read.

    Example:
        >>> keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save("model.keras")
        >>> load(".").output_shape
        (None, 2)
    """
    path = pathlib.Path(check_path("the model", source))
    if path.is_dir():
        path /= FILE_NAME
        if not path.exists():
            raise InvalidValueError(
                f"{path} does not exist: give the folder of a run that is complete. In a run of an "
                "earlier version its training command writes it with --mode=export."
            )
    if not path.is_file() or path.suffix != ".keras":
        raise InvalidValueError(
            f"the model must be the folder of a run or a .keras file, got {str(source)!r}."
        )
    try:
        return keras.saving.load_model(path)
    except Exception as error:  # Damaged files bring about errors of any type.
        if not _is_whole(path):
            raise InvalidValueError(
                f"{path} is damaged, it is not what was written. A run's training command writes "
                "it anew with --mode=export."
            ) from error
        raise InvalidValueError(
            f"{path} holds no readable Keras model: {reason(error)}. Parts of your own must be "
            "registered with Keras (keras.saving.register_keras_serializable) and imported first."
        ) from error


def _is_whole(path: pathlib.Path) -> bool:
    """Whether a `.keras` file is the archive that was written, by the sums within it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # of any type, too
        return False
