# SPDX-License-Identifier: Apache-2.0
"""The devices and processes that a run uses."""
