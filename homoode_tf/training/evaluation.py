# SPDX-License-Identifier: Apache-2.0
"""Evaluating a model on a split."""

from collections.abc import Callable

from homoode_tf.training.inputs import Inputs
from homoode_tf.training.state import TrainState
from homoode_tf.training.step import explaining_failures, make_evaluation_step
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
        self._step = make_evaluation_step(state, self._sums)

    def evaluate(self, split: str, between: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Returns the mean loss and the accuracy over all images of a split.

        Args:
            split: "validation" or "test".
            between: Called before each batch; what it raises ends the evaluation.

        Returns:
            `loss` in nats, `accuracy` in 0..1, and the number of `examples`.

        Raises:
            StepError: If the solver, or anything else inside of the graph, fails.
        """
        self._sums.reset()
        batches, num_batches = self._inputs.evaluation(split)
        what = f"the evaluation on {split}"
        with self._state.averaged_weights(), explaining_failures(what, self._state.strategy):
            for _ in range(num_batches):
                between()
                self._step(batches)
        means = self._sums.means()
        return {name: means[name] for name in ("loss", "accuracy", "examples")}
