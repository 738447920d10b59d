# SPDX-License-Identifier: Apache-2.0
"""Measurements, one question a file.

    python -m benchmarks.train_step       how long forward pass and training step take, beside peers
    python -m benchmarks.memory           how memory grows with the number of steps
    python -m benchmarks.work_precision   what accuracy costs each solver

They need more packages: `pip install -e '.[bench,plots]'`.
"""
