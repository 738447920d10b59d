# SPDX-License-Identifier: Apache-2.0
"""An initial value problem on flat lists: what the solvers of this package integrate."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from homoode_tf.solvers.ode.flat import Tensors, cast

# field(time, state) gives the derivative of every component.
Field = Callable[[tf.Tensor, Tensors], Tensors]


@dataclasses.dataclass(frozen=True)
class Problem:
    """y'(t) = field(t, y; constants), y(t0) = y0.

    Attributes:
      bind: Closes the vector field over its constants: bind(constants) is a `Field`. A backward
        pass binds it anew, to constants that it can differentiate by.
      constants: Tensors that gradients shall reach beside y0, the times and variables.
      initial_time: t0, a scalar.
      initial_state: y0, tensors of one floating or complex dtype.
      solution_times: Shape (n,), increasing; the last is where the solve ends.
      every_step: Whether the state after every step is asked for; there is one solution time then.
      differentiable_times: Whether gradients by the times are asked for.
      direction: 1.0 or -1.0 where the times are known before anything runs, and were found to be
        in order; None where that is yet to be seen.
      integrands: A field whose result has, after the derivatives, those of `integrals`; it is
        evaluated where these count.
      integrals: Initial values of integrals along the solution, which do not act back on it.
      stage_dtype: In which the field takes the states at a step's stages; None for their own. It
        may return slopes of another dtype than the state's, too.
      pace: How fast time runs on the solve's clock at most, for each sample, shape (batch,); None
        where it is the clock's.
      measures_error: Whether the last of the integrals is that of the estimated error's square,
        in units of the tolerance; only for a loop that estimates it.
      structure: A nest in whose form a user sees the state, its leaves being of no matter.
      on_backward: Told how many evaluations a backward pass made, an int32 scalar.
      advice: What one is told who asks for second derivatives, where it is not the gradient mode
        that decides.
    """

    bind: Callable[[Tensors], Field]
    constants: Tensors
    initial_time: tf.Tensor
    initial_state: Tensors
    solution_times: tf.Tensor
    every_step: bool = False
    differentiable_times: bool = False
    direction: float | None = None
    integrands: Field | None = None
    integrals: Sequence[tf.Tensor] = ()
    stage_dtype: tf.DType | None = None
    pace: tf.Tensor | None = None
    measures_error: bool = False
    structure: Any = None
    on_backward: Callable[[tf.Tensor], object] | None = None
    advice: str | None = None

    @functools.cached_property
    def stage_field(self) -> Field:
        """The vector field, closed over the constants."""
        return self.bind(self.constants)

    def field(self, time: tf.Tensor, state: Tensors) -> Tensors:
        """The vector field with slopes of the state's dtype."""
        slopes = self.stage_field(time, state)
        return [cast(k, y.dtype) for k, y in zip(slopes, state, strict=True)]

    @property
    def tensors(self) -> Tensors:
        """All that gradients can reach: t0, the solution times, the state, the constants."""
        return [self.initial_time, self.solution_times, *self.initial_state, *self.constants]

    def of(self, initial_time: tf.Tensor, solution_times: tf.Tensor, *tensors: tf.Tensor):
        """The same problem with other tensors, in the order of `tensors`."""
        split = len(self.initial_state)
        return dataclasses.replace(
            self,
            initial_time=initial_time,
            solution_times=solution_times,
            initial_state=list(tensors[:split]),
            constants=list(tensors[split:]),
        )

    def to_every_step(self) -> "Problem":
        """The same problem, but asked for the state after every step to the final time."""
        times = self.solution_times[-1:]
        return dataclasses.replace(self, solution_times=times, every_step=True)

    def pack(self, state: Tensors) -> Any:
        """A state as a user sees it, without components that were added."""
        number = len(tf.nest.flatten(self.structure))
        return tf.nest.pack_sequence_as(self.structure, list(state)[:number])

    def cut(self, x: tf.Tensor) -> tf.Tensor:
        """x, and under a stop-gradient where no gradient by the times is asked for."""
        return x if self.differentiable_times else tf.stop_gradient(x)

    def report_backward(self, evaluations: tf.Tensor) -> None:
        """Tells how many evaluations a backward pass made."""
        if self.on_backward is not None:
            self.on_backward(tf.cast(evaluations, tf.int32))
