# SPDX-License-Identifier: Apache-2.0
"""`config.model`: the fields that say which classifier is built."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow_probability as tfp

from homoode_tf import identifiers, solvers
from homoode_tf.checks import check_choice, check_tolerances
from homoode_tf.errors import InvalidValueError
from homoode_tf.layers import (
    DEQ,
    AugmentedNeuralODE,
    ConvDynamics,
    HomoODE,
    ImplicitLayer,
    NeuralODE,
    ODELayer,
    TimedConvDynamics,
    initial_point,
)
from homoode_tf.models.stem import STRIDES, check_strides
from homoode_tf.settings import Settings, count, fraction, not_negative, positive, setting
from homoode_tf.solvers import fixed_point
from homoode_tf.solvers.ode import tolerances

DYNAMICS = {"conv": ConvDynamics, "timed_conv": TimedConvDynamics}
LAYERS = {
    "homoode": HomoODE,
    "neural_ode": NeuralODE,
    "augmented_neural_ode": AugmentedNeuralODE,
    "deq": DEQ,
    # Residual blocks that share their weights: z <- z + F(z), Euler's method with steps of one.
    "resnet": NeuralODE,
}
# More than any network has; beyond, its kernels would fill the memory before an error came.
_CHANNELS_END = 2**14
# The adjoint's is a multiple, which a float32 must hold as well.
_LARGEST_TOLERANCE = 1e30
_OF_AN_ODE = ("kinetic_weight", "error_weight", "final_time_spread")


def _identify(name: str, value: Any, kind: Any, names: Iterable[str]) -> Any:
    """Refuses what identifies no part of a kind; a description is read where the part is made."""
    if isinstance(value, Mapping) and {"class_name", "config"} <= value.keys():
        return None
    return identifiers.find(name, value, kind, dict.fromkeys(names, kind))


def _part(default: str, meaning: str, names: Iterable[str], kind: type = keras.layers.Layer) -> Any:
    """Declares a field that identifies a layer, a built-in one or one's own."""
    check = functools.partial(_identify, kind=kind, names=names)
    return setting(default, meaning, check=check, allowed=f"{', '.join(names)}, or one's own")


def _solving(kind: Any, names: tuple[str, ...], gradients: tuple[str, ...]) -> dict[str, Any]:
    """The checks of what says how to solve."""
    solver = functools.partial(_identify, kind=kind, names=names)
    return {"solver": solver, "gradient": functools.partial(check_choice, allowed=gradients)}


def _of_both(ode: Iterable[str], deq: Iterable[str]) -> str:
    return f"{', '.join(ode)}; of a deq {', '.join(deq)}"


def _with_the_layer(name: str, value: Any) -> None:
    """The check of what means one thing to one layer and another to another: made at the end."""


_CHECKS = {
    ODELayer: _solving(tfp.math.ode.Solver, solvers.names(), solvers.GRADIENTS),
    DEQ: _solving(fixed_point.FixedPointSolver, fixed_point.names(), fixed_point.MODES),
    # A layer of one's own that is neither, or is yet to be made from its description.
    object: _solving(
        tfp.math.ode.Solver | fixed_point.FixedPointSolver,
        solvers.names() + fixed_point.names(),
        solvers.GRADIENTS + fixed_point.MODES,
    ),
}


@dataclasses.dataclass(frozen=True)
class ModelSettings(Settings):
    """Which classifier is built; `docs/recipe_reference.md` lists the fields.

    Raises:
        InvalidValueError: If a field is not allowed, whether or not the layer uses it; the message
            names it.

    Example:
        >>> ModelSettings(layer="deq", solver="anderson", gradient="implicit").channels
        64
    """

    layer: Any = _part("homoode", "The implicit layer.", LAYERS, ImplicitLayer)
    dynamics: Any = _part("conv", "Its vector field.", DYNAMICS)
    solver: Any = setting(
        "dopri5",
        "The solver, of the ODE or of a deq's fixed point.",
        check=_with_the_layer,
        allowed=f"{_of_both(solvers.names(), fixed_point.names())}; or one's own",
    )
    gradient: str = setting(
        "backprop",
        "How the backward pass is made.",
        check=_with_the_layer,
        allowed=_of_both(solvers.GRADIENTS, fixed_point.MODES),
    )
    initial_point: Any = _part("learned", "Where a homoode or a deq starts.", initial_point.names())
    rtol: float = positive(1e-3, "Relative tolerance of the solver.", at_most=_LARGEST_TOLERANCE)
    atol: float = positive(1e-3, "Absolute tolerance of the solver.", at_most=_LARGEST_TOLERANCE)
    final_time: float = positive(1.0, "End of the ODE's time.")
    step_control: str = setting(
        "batch",
        "Which images share a step size in training; see `export_step_control`.",
        choices=solvers.STEP_CONTROLS,
    )
    max_num_steps: int = count(
        solvers.Settings.max_num_steps, "Most steps of a solve; for `jit_compile` at most 1024."
    )
    num_steps: int = count(7, "Of a resnet, and of a solver without step control, as rk4.")
    max_num_iterations: int = count(50, "Most iterations of a deq.")
    jacobian_weight: float = not_negative(
        0.0, "Of an added loss, the size of the Jacobian: a deq's at its end, an ODE's on its way."
    )
    kinetic_weight: float = not_negative(0.0, "Of an added loss, the square of an ODE's F.")
    error_weight: float = not_negative(
        0.0, "Of an added loss, the square of the solver's error; needs gradient=backprop."
    )
    final_time_spread: float = fraction(
        0.0, "In training an ODE's end is drawn between (1 - spread) and (1 + spread) of its time."
    )
    channels: int = count(64, "Channels of the state.", below=_CHANNELS_END)
    extra_channels: int = not_negative(
        0, "Those that an augmented_neural_ode adds to the stem's.", below=_CHANNELS_END
    )
    head_channels: int = count(256, "Of the head's 1x1 convolution.", below=_CHANNELS_END)
    stem_strides: tuple = setting(
        (1, 2),
        "Of the stem's convolutions, one each: a state of 8 to 28 pixels is meant.",
        check=check_strides,
        allowed=STRIDES,
    )
    groups: int = count(32, "Of the group normalisations; divides `channels`.")
    dropout_rate: float = fraction(0.1, "Dropout of the dynamics.")
    batch_norm_momentum: float = fraction(0.9, "Share of the past in batch norm's moments.")
    synchronized_batch_norm: bool = setting(False, "Whether those are moments of all replicas.")

    def __post_init__(self):
        super().__post_init__()
        layer = self.layer
        kind = LAYERS.get(layer) if isinstance(layer, str) else type(layer)
        kind = kind or keras.saving.get_registered_object(layer)
        checks = next(checks for base, checks in _CHECKS.items() if issubclass(kind, base))
        for name, check in checks.items():
            check(name, getattr(self, name))
        if issubclass(kind, ODELayer | DEQ):
            # Of states in float32, which they are under every precision.
            share = tolerances.OF_RESOLUTION if issubclass(kind, ODELayer) else 1
            check_tolerances(self.rtol, self.atol, np.float32, share)
        if kind is DEQ:
            for name in _OF_AN_ODE:
                if getattr(self, name):
                    raise InvalidValueError(
                        f"{name} must be 0 with a deq, which has no path in time, got "
                        f"{getattr(self, name)!r}."
                    )
        channels = self.channels
        if channels % self.groups:
            raise InvalidValueError(f"groups must divide channels={channels}, got {self.groups}.")
        if self.layer == "augmented_neural_ode" and self.extra_channels >= channels:
            raise InvalidValueError(
                f"extra_channels must be below channels={channels}, got {self.extra_channels}."
            )
