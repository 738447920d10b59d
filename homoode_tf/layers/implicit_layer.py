# SPDX-License-Identifier: Apache-2.0
"""What all implicit layers share: dynamics, their evaluation within a solve, and counters."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from homoode_tf.errors import InvalidValueError
from homoode_tf.layers import given_dynamics, inner_loss, structure
from homoode_tf.layers.held_state import HeldState
from homoode_tf.layers.serving_scope import current_step_control, is_serving
from homoode_tf.layers.solver_scope import current_solver
from homoode_tf.solvers.ode.flat import align

Tensors = list[tf.Tensor]
_TIME = given_dynamics.TIME


class ImplicitLayer(keras.layers.Layer):
    """Base of the layers whose output a solver finds by evaluating `dynamics` many times.

    A subclass says where the state starts (`initial_state`), what the condition is, how to `solve`,
    and what is to be remembered of a solution (`observe`); a call does these three in turn.

    The state is float32 even under a half-precision policy (float64 under "float64"), so that the
    solver has the digits it needs; the dynamics computes in its own dtype policy.

    A Keras mask of positions passes through to the output; the layer itself solves for all
    positions, masked or not, and the dynamics sees no mask.

    Args:
        dynamics: Keras layer or functional model called as `dynamics(z, x)`, or `dynamics(z)` by
            layers without a condition, or a `FunctionDynamics`; a first argument of its `call`
            named `t` or `time` gets the time, a scalar or of shape (batch, 1, ..., 1), in the
            dynamics' compute dtype: half precision rounds it to three digits or less, and where
            that is too few the dynamics needs dtype="float32". Returns a tensor of z's shape;
            where z or x is a nest (list, tuple, dict) of tensors, it gets such nests, and returns
            one of z's structure.
        **kwargs: Keras layer arguments (`name`, `dtype`, ...).

    Attributes:
        forward_nfe: int64 scalar variable, evaluations of the dynamics in the last forward pass.
        backward_nfe: int64 scalar variable, evaluations in the last backward pass; one evaluation
            with its vector-Jacobian product counts once. Stays as it was within a loop or a branch
            that is not ours, that of `keras.layers.RNN` or `tf.cond`, say.

    Raises:
        ValueError: If `dynamics` is no Keras layer, or its `call` takes other arguments.
    """

    # Whether the dynamics is called with the layer's input as its condition x.
    has_condition = True
    # Arguments that are for a solver given by name.
    solver_settings: tuple[str, ...] = ()

    def __init__(self, dynamics: keras.layers.Layer, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.dynamics = dynamics = given_dynamics.as_layer(dynamics, self.has_condition)
        self._dynamics_takes_time = _takes_time(dynamics, self.has_condition)

    def build(self, input_shape):
        structure.check_batches(input_shape)
        self.forward_nfe = self._counter("forward_nfe")
        self.backward_nfe = self._counter("backward_nfe")

    def build_dynamics(self, state_shape: Any, condition_shape: Any = None) -> None:
        """Builds the dynamics and checks that it returns the state's structure and shapes."""
        dtype = self.state_dtype.name
        shapes = [state_shape] if condition_shape is None else [state_shape, condition_shape]
        tensors = [structure.symbolic(shape, dtype) for shape in shapes]
        time = [keras.KerasTensor((), dtype)] if self._dynamics_takes_time else []
        structure.matched(self.dynamics(*time, *tensors), tensors[0], self.dynamics.name)

    @property
    def state_dtype(self) -> tf.DType:
        """The dtype of the state: float32, or float64 under that policy."""
        return tf.float64 if self.compute_dtype == "float64" else tf.float32

    @property
    def _stage_dtype(self) -> tf.DType:
        """The dtype in which the dynamics takes its floating arguments."""
        dynamics = self.dynamics
        return tf.as_dtype(dynamics.compute_dtype) if dynamics.autocast else self.state_dtype

    def call(self, inputs, training=False):
        solution = self.solve(inputs, **self.arguments_of_call(training))
        return self.finish_call(solution, solution.final_state, training)

    def arguments_of_call(self, training: bool) -> dict[str, Any]:
        """The arguments of `solve` in a call: in an exported model, the solver for that."""
        if is_serving():
            return {"solver": self.serving_solver(current_step_control())}
        # A side effect of a backward pass cannot leave a loop or a branch that is not ours.
        on_backward = None if inner_loss.is_within_control_flow() else self.backward_nfe.assign
        return {"solver": current_solver(), "training": training, "on_backward": on_backward}

    def finish_call(self, solution: Any, output: Any, training: bool) -> Any:
        """What a call returns, after what is to be remembered was."""
        output = tf.nest.map_structure(lambda y: tf.cast(y, self.compute_dtype), output)
        if is_serving():
            return output
        losses = self.observe(solution, training)
        if losses and inner_loss.is_within_control_flow():
            return inner_loss.attach(output, losses)
        for loss in losses:
            self.add_loss(loss)
        return output

    def solve(
        self,
        inputs: Any,
        *,
        solver: Any = None,
        training: bool = False,
        on_backward: Callable[[tf.Tensor], object] | None = None,
    ) -> Any:
        """Finds the output for some inputs, and changes nothing of the layer.

        Args:
            inputs: What the layer is called with.
            solver: Another solver than the layer's own.
            training: Whether the dynamics runs in training mode.
            on_backward: Told within a backward pass how many evaluations it made.

        Returns:
            A named tuple that has `final_state`, `num_evaluations` and `status`.
        """
        raise NotImplementedError

    def observe(self, solution: Any, training: bool) -> Tensors:
        """Remembers what there is to remember of a solution; called once a call.

        Returns:
            Losses to be added to the model's, scalars.
        """
        self.forward_nfe.assign(solution.num_evaluations)
        return []

    def serving_solver(self, step_control: str | None) -> Any:
        """The solver that an exported model takes, which solves for the output alone.

        Args:
            step_control: "sample", "batch", or None for the solver's own.
        """
        raise NotImplementedError

    def prepare(self, inputs: Any) -> Any:
        """Returns inputs as a call gets them: tensors of the layer's compute dtype, once built."""
        inputs, dtype = structure.as_tensors(inputs), self.compute_dtype
        structure.check_digits(inputs, dtype)
        # The identity is without the mask, which the dynamics would see in some evaluations only.
        inputs = tf.nest.map_structure(lambda x: tf.identity(tf.cast(x, dtype)), inputs)
        if not self.built:
            self.build(structure.shapes(inputs))
        return inputs

    def state_shape(self, input_shape: Any) -> Any:
        """Returns the shape of z (or its nest of shapes) for that of the layer's inputs."""
        return structure.map_shapes(tuple, input_shape)

    def compute_output_shape(self, input_shape):
        return self.state_shape(input_shape)

    def initial_state(self, inputs: Any) -> Any:
        """Returns z(0) for the layer's inputs."""
        return inputs

    def condition(self, inputs: Any) -> Tensors:
        """Returns the flat tensors of what the dynamics is given beside the state, or nothing."""
        flat = tf.nest.flatten(inputs) if self.has_condition else []
        return [tf.cast(x, self.state_dtype) for x in flat]

    def bind_dynamics(
        self, inputs: Any, state: Any, training: bool
    ) -> tuple[Callable[[Tensors], Callable[[tf.Tensor, Tensors], Tensors]], Tensors]:
        """Draws the random numbers of one pass and returns the dynamics with them.

        Args:
            inputs: What the layer is called with.
            state: A state, in the structure in which the dynamics gets it.
            training: Whether the dynamics runs in training mode.

        Returns:
            What closes the dynamics over its constants (`Problem.bind`), and these: the condition,
            then the values of the dynamics' variables. The field that `bind` returns gives the same
            for the same arguments however often it is called. The dynamics sees the time as a
            scalar or, of samples with times of their own, of shape (batch, 1, ...), of the rank of
            the state (its tensor of most axes), so that it can multiply it.
        """
        held, takes_time = HeldState(self.dynamics, training), self._dynamics_takes_time
        given, name = (
            [tf.cast(c, self._stage_dtype) for c in self.condition(inputs)],
            self.dynamics.name,
        )
        number, is_nested = len(given), tf.nest.is_nested(state)

        def bind(constants):
            conditions, values = constants[:number], constants[number:]
            packed = [tf.nest.pack_sequence_as(inputs, conditions)] if number else []

            def field(time, flat):
                arguments = [tf.nest.pack_sequence_as(state, flat)]
                if takes_time:
                    arguments.insert(0, align(time, max(flat, key=lambda y: y.shape.rank)))
                with held.scope(values):
                    output = self.dynamics(*arguments, *packed, training=training)
                for each in tf.nest.flatten(output):
                    structure.refuse_complex(f"What {name!r} returns", each)
                return structure.matched(output, arguments[-1], name) if is_nested else [output]

            return field

        return bind, [*given, *held.values]

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

    def fix_channels(self, input_shape: Any) -> None:
        """Lets Keras refuse other ranks or numbers of channels from now on, with its message."""
        self.input_spec = [
            keras.layers.InputSpec(ndim=len(s), axes={-1: s[-1]} if len(s) > 1 else None)
            for s in structure.flat_shapes(input_shape)
        ]

    def get_config(self):
        return {
            **super().get_config(),
            "dynamics": keras.saving.serialize_keras_object(self.dynamics),
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if isinstance(config["solver"], Mapping):
            # Older files hold, beside a solver object, defaults that meant nothing there.
            for name in cls.solver_settings:
                config.pop(name, None)
        config["dynamics"] = keras.saving.deserialize_keras_object(config["dynamics"])
        return cls(**config)


def _takes_time(dynamics: keras.layers.Layer, has_condition: bool) -> bool:
    """Whether the first argument of `dynamics.call` is the time."""
    expected = "z, x" if has_condition else "z"
    if not isinstance(dynamics, keras.layers.Layer):
        raise InvalidValueError(
            f"dynamics must be a Keras layer called as dynamics({expected}), or "
            f"homoode_tf.layers.FunctionDynamics(function, variables), got {dynamics!r}."
        )
    if isinstance(dynamics, given_dynamics.ModelDynamics):
        return dynamics.takes_time
    function = dynamics.call
    if isinstance(dynamics, given_dynamics.FunctionDynamics):
        function = dynamics.function
    parameters = [
        parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and name not in ("training", "mask")
    ]
    names = [parameter.name for parameter in parameters]
    takes_time = bool(names) and names[0] in _TIME
    needed = 1 + has_condition + takes_time
    required = [p for p in parameters if p.default is p.empty]
    swapped = given_dynamics.are_swapped(names, takes_time, needed)
    if len(names) < needed or len(required) > needed or swapped:
        raise InvalidValueError(
            f"dynamics must have call(self, {expected}) or call(self, t, {expected}), in this "
            f"order, but {type(dynamics).__name__}.call takes ({', '.join(names)})."
        )
    return takes_time
