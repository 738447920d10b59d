# SPDX-License-Identifier: Apache-2.0
"""The scope in which calls of implicit layers solve with another solver than the layers' own."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

_SOLVER: contextvars.ContextVar[Any] = contextvars.ContextVar("solver", default=None)


@contextlib.contextmanager
def solver_scope(solver: Any) -> Iterator[None]:
    """Within this scope a call of an implicit layer solves with `solver`; None is the layer's own.

    It has no effect on functions traced before, in other threads, or on an exported model.

    Args:
        solver: What `layer.solve` takes as its `solver`.

    Example:
        >>> from homoode_tf.layers import ConvDynamics, NeuralODE
        >>> layer = NeuralODE(ConvDynamics(4, groups=2))
        >>> with solver_scope(layer.solver.replace(tableau="heun", num_steps=2)):
        ...     output = layer(tf.ones([1, 3, 3, 4]))
        >>> int(layer.forward_nfe)
        4
    """
    token = _SOLVER.set(solver)
    try:
        yield
    finally:
        _SOLVER.reset(token)


def current_solver() -> Any:
    """The solver of the scope around this call; None outside of any."""
    return _SOLVER.get()
