# SPDX-License-Identifier: Apache-2.0
"""The scope in which implicit layers solve as an exported model does."""

import contextlib
import contextvars
from collections.abc import Iterator

from homoode_tf.errors import InvalidValueError
from homoode_tf.solvers import fusion, tracing

_STEP_CONTROL: contextvars.ContextVar[str | None] = contextvars.ContextVar(
    "step_control", default=None
)


@contextlib.contextmanager
def serving_scope(step_control: str) -> Iterator[None]:
    """Within this scope a call of an implicit layer gives its output and does nothing else.

    What is traced here changes no variable and records nothing for a gradient. It has no effect on
    functions traced before.

    Args:
        step_control: How solvers of ODEs step, "sample" or "batch".

    Example:
        >>> with serving_scope("sample"):
        ...     current_step_control()
        'sample'
    """
    token = _STEP_CONTROL.set(step_control)
    try:
        with fusion.plain_operations():  # other formats know no compiled pieces
            yield
    finally:
        _STEP_CONTROL.reset(token)


def is_serving() -> bool:
    """Whether there is a scope around this call, or a Keras model's `export`.

    Raises:
        InvalidValueError: If that export is one to ONNX.
    """
    if _STEP_CONTROL.get() is not None:
        return True
    export = tracing.keras_export()
    if export == "onnx":
        # It knows no shapes within a loop; onnxruntime rejects what it writes without a word.
        raise InvalidValueError(
            "model.export(..., format='onnx') cannot write a solver's loop. Use model.export(DIR), "
            "then python -m homoode_tf.convert --saved_model DIR --format onnx --output FILE."
        )
    return export is not None


def current_step_control() -> str | None:
    """The step control of the scope around this call; None outside of any: each solver's own."""
    return _STEP_CONTROL.get()
