# SPDX-License-Identifier: Apache-2.0
"""`config.model`: the fields that say which classifier is built."""

import dataclasses
import functools
from collections.abc import Collection
from typing import Any

import keras
import tensorflow_probability as tfp

from homoode_tf import solvers
from homoode_tf.checks import check_choice
from homoode_tf.errors import InvalidValueError
from homoode_tf.layers import DEQ, ImplicitLayer, ODELayer, initial_point
from homoode_tf.models import parts
from homoode_tf.models.implicit import DYNAMICS, LAYERS
from homoode_tf.settings import Settings, setting
from homoode_tf.solvers import fixed_point

# More than any network has; beyond, its kernels would fill the memory before an error came.
_CHANNELS_END = 2**14


def _part(built_in: Collection[str], kind: type = keras.layers.Layer) -> dict[str, Any]:
    """A field that identifies a layer, a built-in one or one's own."""
    check = functools.partial(parts.check, built_in=tuple(built_in), kinds=(kind,))
    return {"check": check, "allowed": f"{', '.join(built_in)}, or one's own"}


def _check_strides(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or len(value) != 2 or not set(value) <= {1, 2}:
        raise InvalidValueError(f"{name} must be two numbers, each 1 or 2, got {value!r}.")


@dataclasses.dataclass(frozen=True)
class _Solving:
    """What `solver` and `gradient` may be."""

    solvers: tuple[str, ...]
    kinds: tuple[type, ...]
    gradients: tuple[str, ...]

    @classmethod
    def of(cls, layer: Any) -> "_Solving":
        """That of a layer that `config.model.layer` identifies."""
        kind = type(layer)
        if isinstance(layer, str):
            kind = LAYERS.get(layer) or keras.saving.get_registered_object(layer)
        return (
            _FIXED_POINT if issubclass(kind, DEQ) else _ODE if issubclass(kind, ODELayer) else _ANY
        )

    def check_solver(self, name: str, value: Any) -> None:
        parts.check(name, value, self.solvers, self.kinds)

    def check_gradient(self, name: str, value: Any) -> None:
        check_choice(name, value, self.gradients)


_ODE = _Solving(solvers.names(), (tfp.math.ode.Solver,), solvers.GRADIENTS)
_FIXED_POINT = _Solving(fixed_point.names(), (fixed_point.FixedPointSolver,), fixed_point.MODES)
_ANY = _Solving(
    *(
        (*getattr(_ODE, field.name), *getattr(_FIXED_POINT, field.name))
        for field in dataclasses.fields(_Solving)
    )
)


@dataclasses.dataclass(frozen=True)
class ModelSettings(Settings):
    """Which classifier is built.

    Raises:
        InvalidValueError: If a field is not allowed, whether or not the layer uses it; the message
            names it.

    Example:
        >>> ModelSettings(layer="deq", solver="anderson", gradient="implicit").channels
        64
    """

    layer: Any = setting("homoode", "The implicit layer.", **_part(LAYERS, ImplicitLayer))
    dynamics: Any = setting("conv", "Its vector field.", **_part(DYNAMICS))
    solver: Any = setting(
        "dopri5",
        "The solver: of an ODE, or of a fixed point for a deq.",
        check=_ANY.check_solver,
        allowed=f"{', '.join(_ODE.solvers)}; of a deq {', '.join(_FIXED_POINT.solvers)}; "
        "or one's own",
    )
    gradient: str = setting(
        "backprop",
        "How the backward pass is made.",
        check=_ANY.check_gradient,
        allowed=f"{', '.join(_ODE.gradients)}; of a deq {', '.join(_FIXED_POINT.gradients)}",
    )
    initial_point: Any = setting(
        "learned",
        "Where a homoode or a deq starts.",
        **_part(initial_point.names()),
    )
    rtol: float = setting(1e-3, "Relative tolerance of the solver.", above=0)
    atol: float = setting(1e-3, "Absolute tolerance of the solver.", above=0)
    final_time: float = setting(1.0, "End of the ODE's time.", above=0)
    step_control: str = setting(
        "batch",
        "Whether all samples share one step size in training; see `export_step_control`.",
        choices=solvers.STEP_CONTROLS,
    )
    max_num_steps: int = setting(
        solvers.Settings.max_num_steps,
        "Most steps of a solve; for `jit_compile` at most 1024.",
        at_least=1,
    )
    num_steps: int = setting(
        7, "Steps of a resnet, and of a solver without step control, as rk4.", at_least=1
    )
    max_num_iterations: int = setting(50, "Most iterations of a deq.", at_least=1)
    jacobian_weight: float = setting(
        0.0, "Weight of a deq's added loss, the size of its Jacobian.", at_least=0
    )
    channels: int = setting(64, "Channels of the state.", at_least=1, below=_CHANNELS_END)
    extra_channels: int = setting(
        0,
        "Those of them that the stem leaves out for an augmented_neural_ode.",
        at_least=0,
        below=_CHANNELS_END,
    )
    head_channels: int = setting(
        256, "Channels of the head's 1x1 convolution.", at_least=1, below=_CHANNELS_END
    )
    stem_strides: tuple = setting(
        (1, 2),
        "Strides of the stem's two convolutions.",
        check=_check_strides,
        allowed="two numbers, each 1 or 2",
    )
    groups: int = setting(32, "Groups of the group normalisations; divides `channels`.", at_least=1)
    dropout_rate: float = setting(0.1, "Dropout of the dynamics.", at_least=0, below=1)
    batch_norm_momentum: float = setting(
        0.9, "Share of the past in batch norm's moments.", at_least=0, below=1
    )
    synchronized_batch_norm: bool = setting(False, "Whether those moments are over all replicas.")

    def __post_init__(self):
        super().__post_init__()
        solving = _Solving.of(self.layer)
        solving.check_solver("solver", self.solver)
        solving.check_gradient("gradient", self.gradient)
        if self.channels % self.groups:
            raise InvalidValueError(
                f"groups must divide channels={self.channels}, got {self.groups}."
            )
        if self.layer == "augmented_neural_ode" and self.extra_channels >= self.channels:
            raise InvalidValueError(
                f"extra_channels must be below channels={self.channels}, got {self.extra_channels}."
            )
