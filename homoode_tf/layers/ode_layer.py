# SPDX-License-Identifier: Apache-2.0
"""The solve that all continuous-depth layers share: z' = F(t, z; x) from 0 to the final time."""

import contextlib
import inspect
from collections.abc import Iterator

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import solvers
from homoode_tf.layers.variational_dropout import draw_masks, hold_masks
from homoode_tf.solvers import counting, serialization

_DEFAULT_RTOL = 1e-3
_DEFAULT_ATOL = 1e-3


class ODELayer(keras.layers.Layer):
    """Base of the layers whose output is the state z(T) of an ODE with dynamics F.

    A subclass decides in its `call` what the initial state and the condition are, and hands them
    to `integrate`. The state is float32 even under a half-precision policy (float64 under
    "float64"), so that step control has the digits it needs; the dynamics computes in its own
    dtype policy.

    Args:
        dynamics: Keras layer called as `dynamics(z, x)`, or `dynamics(t, z, x)` where the first
            argument of its `call` is named `t` or `time`. Returns dz/dt, of z's shape.
        solver: Name of a solver (`homoode_tf.solvers.names()`) or any `tfp.math.ode.Solver`.
        rtol: Relative tolerance, for a solver given by name.
        atol: Absolute tolerance, for a solver given by name.
        final_time: T, in the unit of the dynamics' time; the solve starts at 0.
        gradient: "adjoint" (continuous adjoint, constant memory, solved to ten times the
            tolerances) or another mode of `homoode_tf.solvers`, for a solver given by name.
        step_control: "batch" (one step size for all samples, the faster) or "sample" (each sample
            its own, so that its result does not depend on the others), for a solver given by name.
        **kwargs: Keras layer arguments (`name`, `dtype`, ...).

    Attributes:
        forward_nfe: int64 scalar variable, evaluations of F in the last forward pass.
        backward_nfe: int64 scalar variable, evaluations of F in the last backward pass; one
            evaluation with its vector-Jacobian product counts once.
        step_size: scalar variable of the state's dtype, with which the next solve begins: what
            the last training batch found right for its first step. None where the solver does
            not control its step or is not of this package.

    Raises:
        ValueError: If an argument is not allowed; the message names it and what is.
    """

    def __init__(
        self,
        dynamics: keras.layers.Layer,
        solver: str | tfp.math.ode.Solver = "dopri5",
        rtol: float = _DEFAULT_RTOL,
        atol: float = _DEFAULT_ATOL,
        final_time: float = 1.0,
        gradient: str = "adjoint",
        step_control: str = "batch",
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, value in (("rtol", rtol), ("atol", atol), ("final_time", final_time)):
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value!r}.")
        self.dynamics = dynamics
        self._dynamics_takes_time = _takes_time(dynamics)
        self.solver = solver
        self.rtol = float(rtol)
        self.atol = float(atol)
        self.final_time = float(final_time)
        self.gradient = gradient
        self.step_control = step_control
        self._solver = self._make_solver(step_control)

    def _make_solver(self, step_control: str) -> tfp.math.ode.Solver:
        if isinstance(self.solver, str):
            # The adjoint to ten times the tolerance: with the CIFAR-10 model, eight images and 1e-3
            # it takes 26 evaluations instead of 67, and the gradient's error grows from 2.0 to 2.4
            # per cent, by which the exact derivative of that forward solve is off as well.
            return solvers.get(
                self.solver,
                rtol=self.rtol,
                atol=self.atol,
                gradient=self.gradient,
                step_control=step_control,
                adjoint_rtol=10 * self.rtol,
                adjoint_atol=10 * self.atol,
            )
        if not isinstance(self.solver, tfp.math.ode.Solver):
            raise ValueError(
                f"solver must be one of {', '.join(solvers.names())} or a tfp.math.ode.Solver, "
                f"got {self.solver!r}."
            )
        given = (self.rtol, self.atol, self.gradient, self.step_control)
        if given != (_DEFAULT_RTOL, _DEFAULT_ATOL, "adjoint", "batch"):
            raise ValueError(
                "rtol, atol, gradient and step_control belong to a solver given by name; this "
                f"layer got the object {self.solver!r} together with rtol={self.rtol}, "
                f"atol={self.atol}, gradient={self.gradient!r}, "
                f"step_control={self.step_control!r}. Set them on the solver itself."
            )
        return self.solver

    @contextlib.contextmanager
    def controlling_steps_by(self, step_control: str) -> Iterator[None]:
        """Within this context the solver controls its steps by "batch" or by "sample".

        It has no effect on functions traced before. Fixed steps treat all samples alike, and stay.

        Args:
            step_control: As in the constructor.

        Raises:
            ValueError: If it is neither, or is "sample" and the solver is not of this package.
        """
        own, solver = self._solver, self._solver
        if isinstance(self.solver, str):
            solver = self._make_solver(step_control)
        elif isinstance(own, solvers.RungeKutta):
            if own.adaptive:
                solver = solvers.RungeKutta(**{**own.get_config(), "step_control": step_control})
        elif step_control != "batch":
            raise ValueError(
                f"step_control must be 'batch' with {type(own).__name__}, which takes one step for "
                f"the whole batch, got {step_control!r}. Give {self.name!r} a solver by name."
            )
        self._solver = solver
        try:
            yield
        finally:
            self._solver = own

    def build(self, input_shape):
        self.forward_nfe = self._counter("forward_nfe")
        self.backward_nfe = self._counter("backward_nfe")
        self.step_size = None
        if isinstance(self._solver, solvers.RungeKutta) and self._solver.adaptive:
            # Zero: no batch was solved yet, and the solver chooses its first step itself.
            self.step_size = self._replica_variable("step_size", self.state_dtype.name, "mean")

    def _counter(self, name: str) -> keras.Variable:
        return self._replica_variable(name, "int64", "only_first_replica")

    def _replica_variable(self, name: str, dtype: str, aggregation: str) -> keras.Variable:
        # On-read: each replica has its own, without communication inside a solve.
        return keras.Variable(
            initializer="zeros",
            shape=(),
            dtype=dtype,
            trainable=False,
            autocast=False,
            synchronization="on_read",
            aggregation=aggregation,
            name=name,
        )

    @property
    def state_dtype(self) -> tf.DType:
        """The dtype of the state: float32, or float64 under that policy."""
        return tf.float64 if self.compute_dtype == "float64" else tf.float32

    def build_dynamics(self, state_shape: tuple, condition_shape: tuple) -> None:
        """Builds the dynamics and checks that it returns a derivative of the state's shape."""
        dtype = self.state_dtype.name
        tensors = [keras.KerasTensor(shape, dtype) for shape in (state_shape, condition_shape)]
        if self._dynamics_takes_time:
            tensors.insert(0, keras.KerasTensor((), dtype))
        output = self.dynamics(*tensors)
        if not hasattr(output, "shape") or tuple(output.shape) != tuple(state_shape):
            raise ValueError(
                f"The dynamics must return dz/dt of the state's shape {tuple(state_shape)}, but "
                f"{self.dynamics.name!r} returned {getattr(output, 'shape', output)!r}. Change its "
                f"last layer, or the number of channels before this layer."
            )

    def integrate(
        self, initial_state: tf.Tensor, condition: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """Solves dz/dt = F(t, z; x), z(0) = initial_state.

        Args:
            initial_state: z(0), of shape (batch, ...).
            condition: x, of shape (batch, ...); gradients reach it.
            training: Whether the dynamics runs in training mode.

        Returns:
            z(T), of the shape of the initial state, in `state_dtype`.
        """
        initial_state = tf.cast(initial_state, self.state_dtype)
        condition = tf.cast(condition, self.state_dtype)
        masks = draw_masks(self.dynamics, tf.shape(condition)[0], training)

        def ode_fn(time, state, condition):
            arguments = (time,) if self._dynamics_takes_time else ()
            with hold_masks(masks):
                derivative = self.dynamics(*arguments, state, condition, training=training)
            return tf.cast(derivative, state.dtype)

        results = counting.solve_counted(
            self._solver,
            ode_fn,
            initial_state=initial_state,
            final_time=self.final_time,
            constants={"condition": condition},
            on_backward=self.backward_nfe.assign,
            first_step_size=None if self.step_size is None else self.step_size.value,
        )
        self.forward_nfe.assign(results.diagnostics.num_ode_fn_evaluations)
        if training and self.step_size is not None:
            # Neighbouring batches want nearly the same first step: remembering it saves the
            # evaluations that choosing it costs, and the rejection of a step too long.
            self.step_size.assign(tf.reduce_min(results.diagnostics.first_step_size))
        final_state = results.states[0]
        final_state.set_shape(initial_state.shape)
        return final_state

    def get_config(self):
        return {
            **super().get_config(),
            "dynamics": keras.saving.serialize_keras_object(self.dynamics),
            "solver": serialization.serialize(self.solver),
            "rtol": self.rtol,
            "atol": self.atol,
            "final_time": self.final_time,
            "gradient": self.gradient,
            "step_control": self.step_control,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["dynamics"] = keras.saving.deserialize_keras_object(config["dynamics"])
        config["solver"] = serialization.deserialize(config["solver"])
        return cls(**config)


def _takes_time(dynamics: keras.layers.Layer) -> bool:
    """Whether `dynamics.call` is (t, z, x) rather than (z, x)."""
    if not isinstance(dynamics, keras.layers.Layer):
        raise ValueError(
            f"dynamics must be a Keras layer called as dynamics(z, x), got {dynamics!r}."
        )
    names = [
        name
        for name, parameter in inspect.signature(dynamics.call).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and name not in ("training", "mask")
    ]
    takes_time = bool(names) and names[0] in ("t", "time")
    if len(names) < 2 + takes_time:
        raise ValueError(
            "dynamics must have call(self, z, x) or call(self, t, z, x), but "
            f"{type(dynamics).__name__}.call takes ({', '.join(names)})."
        )
    return takes_time
