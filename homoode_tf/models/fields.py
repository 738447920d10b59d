# SPDX-License-Identifier: Apache-2.0
"""The fields of `config.model`, checked before anything is built."""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

from homoode_tf import solvers
from homoode_tf.checks import check_choice, check_flag, check_integer, check_number
from homoode_tf.errors import InvalidValueError, UserError
from homoode_tf.layers import initial_point
from homoode_tf.solvers import fixed_point
from homoode_tf.solvers.ode import gradients
from homoode_tf.solvers.ode.runge_kutta import STEP_CONTROLS

# More than any network has; beyond, its kernels would fill the memory before an error came.
_CHANNELS_END = 2**14


class MissingFieldError(UserError, ValueError):
    """A config lacks a field that has no default."""


def check(config: Mapping[str, Any], layers: Collection[str]) -> None:
    """Checks every field, whether or not the chosen layer uses it.

    Args:
        config: `config.model`, with its defaults.
        layers: The layers that there are.

    Raises:
        MissingFieldError: If a field is missing.
        ValueError: If one is unknown or not allowed; the message names it.
    """
    known = {"layer", "solver", "gradient", *_CHECKS}
    for field in config:
        if field not in known:
            listed = ", ".join(sorted(known))
            raise InvalidValueError(
                f"config.model has no field {field!r}; the known ones are {listed}."
            )
    for field in sorted(known):
        if field not in config:
            raise MissingFieldError(f"config.model.{field} is missing.")
    check_choice("config.model.layer", config["layer"], layers)
    is_equilibrium = config["layer"] == "deq"
    solver_names = fixed_point.names() if is_equilibrium else solvers.names()
    check_choice("config.model.solver", config["solver"], solver_names)
    modes = fixed_point.MODES if is_equilibrium else gradients.MODES
    check_choice("config.model.gradient", config["gradient"], modes)
    for field, check_field in _CHECKS.items():
        check_field(f"config.model.{field}", config[field])
    if config["channels"] % config["groups"]:
        raise InvalidValueError(
            f"config.model.groups must divide channels={config['channels']}, "
            f"got {config['groups']}."
        )


def _check_strides(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or len(value) != 2 or not set(value) <= {1, 2}:
        raise InvalidValueError(f"{name} must be two numbers, each 1 or 2, got {value!r}.")


_positive = functools.partial(check_number, above=0)
_fraction = functools.partial(check_number, at_least=0, below=1)
_count = functools.partial(check_integer, at_least=1)
_channels = functools.partial(check_integer, at_least=1, below=_CHANNELS_END)
_CHECKS: dict[str, Callable[[str, Any], None]] = {
    "channels": _channels,
    "head_channels": _channels,
    "stem_strides": _check_strides,
    "groups": _count,
    "dropout_rate": _fraction,
    "batch_norm_momentum": _fraction,
    "synchronized_batch_norm": check_flag,
    "rtol": _positive,
    "atol": _positive,
    "final_time": _positive,
    "max_num_steps": _count,
    "step_control": functools.partial(check_choice, allowed=STEP_CONTROLS),
    "initial_point": functools.partial(check_choice, allowed=initial_point.names()),
    "extra_channels": functools.partial(check_integer, at_least=0, below=_CHANNELS_END),
    "num_steps": _count,
    "max_num_iterations": _count,
    "jacobian_weight": functools.partial(check_number, at_least=0),
}
