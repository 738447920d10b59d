# SPDX-License-Identifier: Apache-2.0
"""Evaluating a model on a split."""

import math
from collections.abc import Callable

import tensorflow as tf

from homoode_tf.training.inputs import Inputs
from homoode_tf.training.non_finite import NonFiniteError
from homoode_tf.training.objective import correct, cross_entropy
from homoode_tf.training.state import TrainState
from homoode_tf.training.step import explaining_failures, sum_over_replicas
from homoode_tf.training.watch.metric_sums import MetricSums


class Evaluator:
    """Evaluates the averaged weights where there are any, and the weights otherwise.

    Args:
        state: Holds the model.
        inputs: Hands out the images.
    """

    def __init__(self, state: TrainState, inputs: Inputs):
        self._state = state
        self._inputs = inputs
        self._sums = MetricSums("evaluation")

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
        batches, num_batches = self._inputs.evaluation(split)
        with self._state.averaged_weights(), explaining_failures(f"the evaluation on {split}"):
            for number in range(1, num_batches + 1):
                compiles = self._step.experimental_get_tracing_count() == 0
                between(f"{split} {number}/{num_batches}{', compiling' if compiles else ''}")
                self._step(batches)
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
        sums = strategy.run(self._of_batch, args=next(batches))
        self._sums.add(strategy.experimental_local_results(sums)[0])

    def _of_batch(self, images, labels, weights):
        model, share = self._state.model, 1.0 / self._state.strategy.num_replicas_in_sync
        logits = model(images, training=False)
        return sum_over_replicas(
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
