# SPDX-License-Identifier: Apache-2.0
"""The CIFAR-10 HomoODE as facts that every peer builds from: sizes, weights, constants.

Kernels are (height, width, in, out), dense kernels (in, out); a peer with another layout transposes
them. Dropout is off, and the initial point stays at the -1, +1, ... where the paper's training
starts it, so that all peers compute the same function of the same weights.
"""

import math

import numpy as np

CHANNELS = 64
HEAD_CHANNELS = 256
NUM_CLASSES = 10
GROUPS = 32
EPSILON = 1e-5  # of batch norm and group norm
BATCH_NORM_MOMENTUM = 0.9  # share of the past
IMAGE_SHAPE = (32, 32, 3)
# Pixels scaled to 0..1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
LEARNING_RATE = 1e-3
ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}

_CONVOLUTIONS = {
    "stem.conv1": (3, 3, IMAGE_SHAPE[-1], CHANNELS),
    "stem.conv2": (3, 3, CHANNELS, CHANNELS),
    "dynamics.conv1": (3, 3, CHANNELS, CHANNELS),
    "dynamics.conv2": (3, 3, CHANNELS, CHANNELS),
    "head.conv": (1, 1, CHANNELS, HEAD_CHANNELS),
    "head.logits": (HEAD_CHANNELS, NUM_CLASSES),
}
_GROUP_NORMS = {
    "dynamics.norm1": CHANNELS,
    "dynamics.norm2": CHANNELS,
    "head.state_norm": CHANNELS,
}
_BATCH_NORMS = {"stem.norm1": CHANNELS, "stem.norm2": CHANNELS, "head.norm": HEAD_CHANNELS}
_MOMENTS = ("moving_mean", "moving_variance")


def make_weights(seed: int) -> dict[str, np.ndarray]:
    """Returns fresh float32 weights and batch norm moments by name.

    Kernels and biases are drawn from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), as the reference's are.
    """
    generator = np.random.default_rng(seed)
    weights = {}
    for name, shape in _CONVOLUTIONS.items():
        bound = 1.0 / math.sqrt(math.prod(shape[:-1]))
        weights[f"{name}.kernel"] = generator.uniform(-bound, bound, shape)
        weights[f"{name}.bias"] = generator.uniform(-bound, bound, shape[-1])
    for name, channels in {**_GROUP_NORMS, **_BATCH_NORMS}.items():
        weights[f"{name}.gamma"] = np.ones(channels)
        weights[f"{name}.beta"] = np.zeros(channels)
    for name, channels in _BATCH_NORMS.items():
        weights[f"{name}.moving_mean"] = np.zeros(channels)
        weights[f"{name}.moving_variance"] = np.ones(channels)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def is_trainable(name: str) -> bool:
    """Whether a weight is trained, and not a moment of batch norm."""
    return not name.endswith(_MOMENTS)


def initial_point() -> np.ndarray:
    """Returns z(0), one value a channel: -1, +1, -1, ..."""
    return (2.0 * (np.arange(CHANNELS) % 2) - 1.0).astype(np.float32)
