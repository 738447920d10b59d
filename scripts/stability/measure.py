# SPDX-License-Identifier: Apache-2.0
"""All that is measured of one trained run, but for its training."""

import dataclasses
import functools
from typing import Any

import keras
import numpy as np

from scripts.stability import attacks, corruptions, jacobians, solver_dependence
from scripts.stability.answers import Classify, accuracy, classifier
from scripts.trained import Trained

# Deviations of the Gaussian noise, as shares of 255.
SIGMAS = (0.05, 0.1, 0.2, 0.4)
# In pixels of 0..255.
EPSILONS = (1, 2, 4)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        images: Test images for answers and attacks, at most.
        corrupted_images: For each corruption and severity, at most.
        jacobian_images: For the Jacobian's norm, at most.
        pgd_steps: Steps of PGD.
    """

    images: int = 1000
    corrupted_images: int = 1000
    jacobian_images: int = 32
    pgd_steps: int = 20


def of_run(run: Trained, settings: Settings, corrupted: corruptions.Corrupted) -> dict[str, Any]:
    """Accuracy under noise and attacks, dependence on the solver, and Jacobians, JSON-compatible.

    Args:
        run: The run.
        settings: How much is measured.
        corrupted: Of the first `settings.corrupted_images` test images.

    Returns:
        "images", their number; "clean", the accuracy; "gaussian", by sigma; "corruptions", lists
        by severity; "fgsm" and "pgd", by epsilon; "tolerance" and "time" as
        `solver_dependence` returns them; "jacobian" as `jacobians.along_the_way` does.
    """
    model, (images, labels) = run.model, run.test(settings.images)
    classify = classifier(model)
    return {
        "images": len(labels),
        "clean": accuracy(classify, images, labels),
        "gaussian": {
            str(sigma): accuracy(classify, corruptions.gaussian(images, 255.0 * sigma), labels)
            for sigma in SIGMAS
        },
        "corruptions": _corruptions(classify, corrupted, labels[: settings.corrupted_images]),
        **_attacks(model, images, labels, settings.pgd_steps),
        "tolerance": solver_dependence.by_tolerance(model, images, labels),
        "time": solver_dependence.by_time(model, images, labels),
        "jacobian": jacobians.along_the_way(model, images[: settings.jacobian_images]),
    }


def _corruptions(
    classify: Classify, corrupted: corruptions.Corrupted, labels: np.ndarray
) -> dict[str, list[float]]:
    return {
        name: [
            accuracy(classify, corrupted.get(name, severity), labels)
            for severity in corruptions.SEVERITIES
        ]
        for name in corruptions.names()
    }


def _attacks(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, pgd_steps: int
) -> dict[str, dict[str, float]]:
    classify = classifier(model)
    gradient = attacks.loss_gradient(classify)
    found: dict[str, dict[str, float]] = {}
    for name, attack in (
        ("fgsm", attacks.fgsm),
        ("pgd", functools.partial(attacks.pgd, num_steps=pgd_steps)),
    ):
        found[name] = {}
        for epsilon in EPSILONS:
            bound = functools.partial(attack, gradient, epsilon=float(epsilon))
            worst = attacks.attacked(bound, images, labels)
            found[name][str(epsilon)] = accuracy(classify, worst, labels)
    return found
