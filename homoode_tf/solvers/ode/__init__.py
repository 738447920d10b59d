# SPDX-License-Identifier: Apache-2.0
"""Solvers of initial value problems."""
