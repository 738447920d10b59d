# SPDX-License-Identifier: Apache-2.0
"""Measurements, one question a file.

    python -m benchmarks.train_step       how long forward pass and training step take, beside peers
    python -m benchmarks.memory           how memory grows with the number of steps
    python -m benchmarks.family_memory    the memory of HomoODE, DEQ and explicit layers
    python -m benchmarks.work_precision   what accuracy costs each solver
    python -m benchmarks.initial_point --workdir DIR      what the shared initial point saves
    python -m benchmarks.input_pipeline   whether training waits for its images
    python -m benchmarks.device_step      what precision and XLA do to a step, on any device

They need more packages: `pip install -e '.[bench,plots]'`.
"""
