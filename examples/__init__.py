# SPDX-License-Identifier: Apache-2.0
"""What the layers and solvers are for, each in one script: `python -m examples.NAME`."""
