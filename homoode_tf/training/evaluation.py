# SPDX-License-Identifier: Apache-2.0
"""Evaluating a model on a split."""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from PIL import Image

from homoode_tf.training.inputs import Inputs
from homoode_tf.training.non_finite import NonFiniteError
from homoode_tf.training.objective import correct, cross_entropy
from homoode_tf.training.state import TrainState
from homoode_tf.training.step import explaining_failures, sum_over_replicas
from homoode_tf.training.watch import pictures
from homoode_tf.training.watch.metric_sums import MetricSums

# How many images are kept to be looked at.
_SAMPLES = 16


class Evaluator:
    """Evaluates the averaged weights where there are any, and the weights otherwise.

    Args:
        state: Holds the model.
        inputs: Hands out the images.

    Attributes:
        confusion: Of the last split evaluated, the images of class i that were given class j,
            array of shape (classes, classes).
        samples: Its first images of this process, uint8, with their labels and the classes that
            they were given.
    """

    def __init__(self, state: TrainState, inputs: Inputs):
        self._state = state
        self._inputs = inputs
        self._sums = MetricSums("evaluation")
        self._confusion = tf.Variable(
            tf.zeros(2 * [len(inputs.class_names)]), trainable=False, name="confusion"
        )
        self.samples: tuple[np.ndarray, ...] = ()

    @property
    def confusion(self) -> np.ndarray:
        return self._confusion.numpy()

    def pictures(self) -> dict[str, Image.Image]:
        """Draws the samples and the confusion of the last split evaluated."""
        names = self._inputs.class_names
        return {
            "samples": pictures.samples(*self.samples, names=names),
            "confusion_matrix": pictures.confusion_matrix(self.confusion, names),
        }

    def evaluate(
        self, split: str, between: Callable[[str], None] = lambda _: None
    ) -> dict[str, float]:
        """Returns the mean loss and the accuracy over all images of a split.

        Args:
            split: "validation" or "test".
            between: Called before each batch with what comes, "validation 3/12" for example; what
                it raises ends the evaluation.

        Returns:
            `loss` in nats (the plain cross-entropy), `accuracy` in 0..1, and the number of
            `examples`.

        Raises:
            StepError: If the solver, or anything else inside of the graph, fails.
            NonFiniteError: If the loss is infinite or NaN.
        """
        self._sums.reset()
        self._confusion.assign(tf.zeros_like(self._confusion))
        batches, num_batches = self._inputs.evaluation(split)
        with self._state.averaged_weights(), explaining_failures(f"the evaluation on {split}"):
            for number in range(1, num_batches + 1):
                compiles = self._step.experimental_get_tracing_count() == 0
                between(f"{split} {number}/{num_batches}{', compiling' if compiles else ''}")
                samples = self._step(batches)
                if number == 1:
                    *samples, weights = (part.numpy() for part in samples)
                    self.samples = tuple(part[weights > 0] for part in samples)
            means = self._sums.means()
        if not math.isfinite(means["loss"]):
            raise NonFiniteError(
                f"the loss on {split} is {means['loss']}; the checkpoints are kept. A smaller "
                "config.optimizer.learning_rate or closer config.model.rtol and atol may help, in "
                "another workdir."
            )
        return {name: means[name] for name in ("loss", "accuracy", "examples")}

    @tf.function(autograph=False)
    def _step(self, batches):
        strategy = self._state.strategy
        results = strategy.run(self._of_batch, args=next(batches))
        sums, confusion, *samples = (strategy.experimental_local_results(r)[0] for r in results)
        self._sums.add(sums)
        self._confusion.assign_add(confusion)
        return samples

    def _of_batch(self, images, labels, weights):
        model, share = self._state.model, 1.0 / self._state.strategy.num_replicas_in_sync
        logits = model(images, training=False)
        sums = sum_over_replicas(
            [
                share,
                tf.reduce_sum(weights),
                tf.reduce_sum(weights * cross_entropy(labels, logits)),
                tf.reduce_sum(weights * correct(labels, logits)),
                0.0,
                tf.cast(model.implicit.forward_nfe, tf.float32) * share,
                0.0,
            ]
        )
        found, count = tf.argmax(logits, axis=-1), len(self._inputs.class_names)
        weighted = tf.one_hot(labels, count) * weights[:, tf.newaxis]
        confusion = tf.matmul(weighted, tf.one_hot(found, count), transpose_a=True)
        replica = tf.distribute.get_replica_context()
        confusion = replica.all_reduce(tf.distribute.ReduceOp.SUM, confusion)
        return sums, confusion, *(part[:_SAMPLES] for part in (images, labels, found, weights))
