# SPDX-License-Identifier: Apache-2.0
"""How stable trained members of the family are: training, noise, solver, Jacobian."""
