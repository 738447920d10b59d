# SPDX-License-Identifier: Apache-2.0
"""The numbers behind the figures: what `diagnostics.json` holds and `figures.py` draws."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics import confusion_matrix

from homoode_tf.errors import InvalidValueError
from homoode_tf.report.plot.trajectories import Solve

PERCENTILES = (0, 25, 50, 75, 100)


@dataclasses.dataclass(frozen=True)
class SolveSummary:
    """How fast the states of a batch move along t, and the steps that the solver takes.

    Attributes:
        images: Size of the batch.
        evaluations: Evaluations of F.
        rejected_steps: Steps tried and rejected; None where the solver does not count them.
        step_times: Start and ends of the steps, array of shape (steps + 1,).
        step_sizes: Array of shape (steps,).
        step_residuals: Median over the images of |z'(t)| at `step_times`.
        times: Array of shape (n,).
        residuals: For each of `PERCENTILES`, as text, that percentile over the images of |z'(t)|
            at `times`, array of shape (n,).
    """

    images: int
    evaluations: int
    rejected_steps: int | None
    step_times: np.ndarray
    step_sizes: np.ndarray
    step_residuals: np.ndarray
    times: np.ndarray
    residuals: dict[str, np.ndarray]

    @classmethod
    def make(cls, solve: Solve) -> "SolveSummary":
        """Summarises a solve."""
        percentiles = np.percentile(solve.curve.residuals, PERCENTILES, axis=1)
        return cls(
            images=solve.steps.residuals.shape[1],
            evaluations=solve.num_evaluations,
            rejected_steps=solve.num_rejected_steps,
            step_times=solve.steps.times,
            step_sizes=solve.step_sizes,
            step_residuals=np.median(solve.steps.residuals, axis=1),
            times=solve.curve.times,
            residuals=dict(zip(map(str, PERCENTILES), percentiles, strict=True)),
        )


@dataclasses.dataclass(frozen=True)
class Projection:
    """Trajectories of some images in the plane of their states' two principal axes.

    A state is averaged over its positions first. The axes are those of the states at the start
    and at the end of every step.

    Attributes:
        labels: Classes of the images, int array of shape (images,).
        shared_start: Whether all images start at the same point.
        explained_variance: Shares of the variance along both axes, array of shape (2,).
        steps: Start and ends of the steps, array of shape (images, steps + 1, 2).
        curves: The way between them, array of shape (images, n, 2).
    """

    labels: np.ndarray
    shared_start: bool
    explained_variance: np.ndarray
    steps: np.ndarray
    curves: np.ndarray

    @classmethod
    def make(cls, solve: Solve, labels: np.ndarray) -> "Projection":
        """Projects the first images of a solve, as many as there are labels.

        Raises:
            ValueError: If the states have one channel only.
        """
        steps, curves = (
            path.mean_states[:, : len(labels)].swapaxes(0, 1).astype(np.float64)
            for path in (solve.steps, solve.curve)
        )
        channels = steps.shape[-1]
        if channels < 2:
            raise InvalidValueError("states of one channel have no two principal axes")
        pca = PCA(n_components=2).fit(steps.reshape(-1, channels))

        def project(states):
            return pca.transform(states.reshape(-1, channels)).reshape(*states.shape[:2], 2)

        return cls(
            labels=np.asarray(labels),
            shared_start=solve.shares_start,
            # States that do not move at all have no variance to share out.
            explained_variance=np.nan_to_num(pca.explained_variance_ratio_),
            steps=project(steps),
            curves=project(curves),
        )


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Which classes are taken for which.

    Attributes:
        class_names: Names of the classes.
        matrix: Images of class i that were classified as j, int array (classes, classes).
        accuracy: Share of the images that were classified as what they are.
    """

    class_names: tuple[str, ...]
    matrix: np.ndarray
    accuracy: float

    @classmethod
    def make(
        cls, labels: np.ndarray, predictions: np.ndarray, class_names: Sequence[str]
    ) -> "Confusion":
        """Counts labels and predictions, int arrays of shape (images,)."""
        matrix = confusion_matrix(labels, predictions, labels=np.arange(len(class_names)))
        return cls(tuple(class_names), matrix, float(np.trace(matrix) / matrix.sum()))
