# SPDX-License-Identifier: Apache-2.0
"""Gives the project's commands inputs that are wrong, and judges how each ends.

`python -m scripts.malformed_inputs` is the command.
"""
