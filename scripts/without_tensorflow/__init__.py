# SPDX-License-Identifier: Apache-2.0
"""Trains a run on a machine that has a GPU and JAX, but no TensorFlow.

    python -m scripts.without_tensorflow.pack --config=RECIPE --workdir=RUN --packed=packed
    python scripts/without_tensorflow/train.py packed     # there; needs JAX and NumPy alone
    python -m scripts.without_tensorflow.unpack --config=RECIPE --workdir=RUN --packed=packed

The step that travels is that of `train.py`, traced by TensorFlow and written down as StableHLO,
the language that TensorFlow's XLA and JAX share: model, solver, gradients, optimisers and weight
average are this package's own. What JAX does there is to draw the batches and to repeat the step.
"""
