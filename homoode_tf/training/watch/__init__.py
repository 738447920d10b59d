# SPDX-License-Identifier: Apache-2.0
"""What is watched while a run trains: metrics, progress, time, profile."""
