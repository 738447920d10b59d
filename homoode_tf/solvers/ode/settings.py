# SPDX-License-Identifier: Apache-2.0
"""The settings of a Runge-Kutta solver: declared, given their defaults and checked here alone."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any

from homoode_tf import checks
from homoode_tf.errors import InvalidValueError
from homoode_tf.solvers.ode import tableaus, tolerances
from homoode_tf.solvers.ode.error_control import (
    BatchErrorControl,
    SampleErrorControl,
    WorstSampleErrorControl,
)
from homoode_tf.solvers.ode.pi_controller import PIController
from homoode_tf.solvers.ode.step_control import EqualSteps, StepControl, StepsOfSize
from homoode_tf.solvers.ode.tableau import ButcherTableau

GRADIENTS = ("adjoint", "checkpoint", "backprop")
STEP_CONTROLS = ("batch", "sample")
ON_FAILURE = ("raise", "return")
# Arrays of more steps grow as they are filled.
LARGEST_FIXED_ARRAY = 1024
TO_COMPILE = (
    "XLA must know how many steps are stored: set max_num_steps to at most "
    f"{LARGEST_FIXED_ARRAY} (64, say), or gradient='adjoint'"
)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What makes a `RungeKutta` solver; its docstring says what each field means."""

    tableau: ButcherTableau
    _: dataclasses.KW_ONLY
    rtol: tolerances.Tolerance = 1e-3
    atol: tolerances.Tolerance = 1e-6
    first_step_size: Any = None
    num_steps: int | None = None
    step_size: float | None = None
    max_num_steps: int = 100_000
    max_step_size: float | None = None
    stop_times: Sequence[float] = ()
    gradient: str = "adjoint"
    step_control: str = "batch"
    on_failure: str = "raise"
    adjoint_rtol: tolerances.Tolerance | None = None
    adjoint_atol: tolerances.Tolerance | None = None
    adjoint_solver: Any = None
    safety_factor: float = 0.9
    min_step_size_factor: float = 0.2
    max_step_size_factor: float = 10.0
    validate_args: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        """Makes a tableau of a name, and checks the values one by one and together."""
        object.__setattr__(self, "tableau", tableaus.get(self.tableau))
        checks.check_choice("gradient", self.gradient, GRADIENTS)
        checks.check_choice("step_control", self.step_control, STEP_CONTROLS)
        checks.check_choice("on_failure", self.on_failure, ON_FAILURE)
        for name in ("rtol", "atol", "adjoint_rtol", "adjoint_atol"):
            if (value := getattr(self, name)) is not None or name in ("rtol", "atol"):
                optional = name.startswith("adjoint")
                object.__setattr__(self, name, tolerances.plain(name, value, optional))
        for name in ("step_size", "max_step_size"):
            checks.check_number(name, getattr(self, name), above=0, optional=True)
        checks.check_integer("num_steps", self.num_steps, at_least=1, optional=True)
        checks.check_integer("max_num_steps", self.max_num_steps, at_least=1)
        stops = checks.numbers_of("stop_times", self.stop_times)
        object.__setattr__(self, "stop_times", tuple(stops))
        if isinstance(self.first_step_size, numbers.Real):
            checks.check_number("first_step_size", self.first_step_size, above=0)
        self._check_together()
        # The controller checks its factors.
        self.controller  # noqa: B018

    def _check_together(self) -> None:
        if self.num_steps is not None and self.step_size is not None:
            raise InvalidValueError("num_steps and step_size exclude each other; give one of them.")
        if not (self.fixed or self.tableau.adaptive):
            raise InvalidValueError(
                f"{self.tableau.name} does not estimate its error: give num_steps or step_size."
            )
        if self.fixed and self.step_control == "sample":
            raise InvalidValueError(
                "step_control must be 'batch' with num_steps or step_size, got 'sample'."
            )
        if self.adjoint_solver is not None and self.gradient != "adjoint":
            raise InvalidValueError(
                f"adjoint_solver has no meaning beside gradient={self.gradient!r}: set "
                "gradient='adjoint', or leave it out."
            )
        if self._adjoint_base is None and (self.adjoint_rtol or self.adjoint_atol):
            raise InvalidValueError(
                f"adjoint_rtol and adjoint_atol have no meaning beside {self.adjoint_solver.name}, "
                "which has tolerances of its own: set them there."
            )
        for name in ("first_step_size", "max_step_size"):
            if self.fixed and getattr(self, name) is not None:
                raise InvalidValueError(f"{name} has no meaning beside num_steps or step_size.")
        if self.num_steps is not None and self.stop_times:
            raise InvalidValueError("stop_times have no meaning beside num_steps: give step_size.")

    @property
    def _adjoint_base(self) -> Settings | None:
        settings = getattr(self.adjoint_solver, "settings", None)
        if self.adjoint_solver is None:
            settings = self
        return settings if isinstance(settings, Settings) else None

    @property
    def fixed(self) -> bool:
        """Whether steps are of a given size, without control."""
        return self.num_steps is not None or self.step_size is not None

    @property
    def largest_number_of_steps(self) -> int:
        """Bound on the number of steps."""
        if self.num_steps is None:
            return int(self.max_num_steps)
        return min(int(self.num_steps), int(self.max_num_steps))

    @property
    def stores_fixed_arrays(self) -> bool:
        """Whether arrays for all steps are made at full size at once, as XLA needs it."""
        return self.largest_number_of_steps <= LARGEST_FIXED_ARRAY

    @property
    def controller(self) -> PIController:
        """What chooses the next step size."""
        return PIController(
            self.tableau.error_order,
            self.safety_factor,
            self.min_step_size_factor,
            self.max_step_size_factor,
        )

    @property
    def control(self) -> StepControl:
        """The step control of the forward solve."""
        by_sample = self.step_control == "sample"
        return self._control(SampleErrorControl if by_sample else BatchErrorControl)

    def _control(self, error_control: type[BatchErrorControl]) -> StepControl:
        if self.num_steps is not None:
            return EqualSteps(self.num_steps)
        if self.step_size is not None:
            return StepsOfSize(self.step_size)
        largest = self.max_step_size
        return error_control(self.rtol, self.atol, self.controller, largest)

    @property
    def adjoint(self) -> AdjointSettings | None:
        """The settings of the adjoint equation's solve; None where a foreign solver has its own."""
        if (solver := self._adjoint_base) is None:
            return None
        values = {field.name: getattr(solver, field.name) for field in dataclasses.fields(solver)}
        values["rtol"] = self.adjoint_rtol or solver.rtol
        values["atol"] = self.adjoint_atol or solver.atol
        return AdjointSettings(**values)


class AdjointSettings(Settings):
    """The adjoint equation takes one step for all samples, the one that suits the worst."""

    @property
    def control(self):
        by_sample = self.step_control == "sample"
        return self._control(WorstSampleErrorControl if by_sample else BatchErrorControl)
