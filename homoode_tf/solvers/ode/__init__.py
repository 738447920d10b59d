# SPDX-License-Identifier: Apache-2.0
"""Solvers of initial value problems.

The way of a solve: `RungeKutta.solve` states a flat `Problem` (`statement.py`), of several small
components as one vector (`joined.py`), the gradient mode (`adjoint.py`, `checkpoint.py`,
`backprop.py`) runs the `Loop`, whose body asks the step control for a length (`step_control.py`,
`error_control.py`) and takes a step (`step.py`).
"""
