# SPDX-License-Identifier: Apache-2.0
"""What no implementation gets below: the network's convolutions alone, in TensorFlow."""

import numpy as np
import tensorflow as tf

from benchmarks import peers

_KERNELS = ("stem.conv1", "stem.conv2", "dynamics.conv1", "dynamics.conv2", "head.conv")


class Peer:
    """Variants "float32" and "bfloat16": stem, evaluations of F, and head, one after the other.

    Shapes and layout (NHWC) are those of the HomoODE. Each evaluation of F that has a derivative
    has that by its input and that by its kernels; by the images there is none. Norms, activations,
    sums, and the optimiser are left out, and so is what a method evaluates anew.

    Settings:
        onednn: Whether TensorFlow uses oneDNN's kernels (set in the environment).
    """

    def __init__(self, spec: peers.PeerSpec, weights: dict[str, np.ndarray]):
        tf.config.threading.set_intra_op_parallelism_threads(spec.threads)
        self.versions = {"tensorflow": tf.__version__}
        self._dtype = tf.as_dtype(spec.variant)
        kernels = [tf.constant(weights[f"{name}.kernel"], self._dtype) for name in _KERNELS]
        self._evaluations = (0, 0)

        def forward(images, evaluations):
            return _network(images, kernels, evaluations)[1]

        def step(images, evaluations, differentiated):
            with tf.GradientTape() as tape:
                tape.watch(kernels)
                state, output = _network(images, kernels, differentiated)
            gradients = tape.gradient(output, kernels)
            # What is evaluated and has no derivative, as the last slope has none.
            return gradients, _repeat(state, kernels, evaluations - differentiated)

        self._forward = tf.function(forward, autograph=False)
        self._step = tf.function(step, autograph=False)

    def place(self, images, labels):
        del labels
        return tf.cast(images, self._dtype) / 255.0

    def forward(self, batch, evaluations=peers.ONE_STEP_EVALUATIONS):
        self._evaluations = evaluations
        self._forward(batch, tf.constant(evaluations[0]))

    def step(self, batch, evaluations=peers.ONE_STEP_EVALUATIONS):
        self._evaluations = evaluations
        self._step(batch, *map(tf.constant, evaluations))

    def evaluations(self):
        return self._evaluations

    def reset(self):
        """Nothing is trained."""


def _network(images, kernels, evaluations):
    """Returns the state after so many evaluations of F, and what the head makes of it."""
    stem1, stem2, *_, head = kernels
    # Padding all of an even image's sides, as the stem does, leaves as many products.
    x = _convolve(_convolve(images, stem1), stem2, strides=2)
    state = _repeat(x, kernels, evaluations)
    return state, _convolve(state, head)


def _repeat(state, kernels, evaluations):
    # Each starts from the last one's result, so that none is taken for another.
    _, _, first, second, _ = kernels
    return tf.while_loop(
        lambda n, _: n < evaluations,
        lambda n, z: (n + 1, _convolve(_convolve(z, first), second)),
        (tf.constant(0), state),
        parallel_iterations=1,
    )[1]


def _convolve(x, kernel, strides=1):
    return tf.nn.conv2d(x, kernel, strides, "SAME")
