# SPDX-License-Identifier: Apache-2.0
"""A TFDS builder over the handwritten digits that scikit-learn carries: needs no network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

_DESCRIPTION = """\
1,797 handwritten digits of 8x8 pixels, the test part of the UCI collection "Optical Recognition of
Handwritten Digits", as scikit-learn distributes them. Grey levels 0..16 are stretched to 0..255.
"""

_CITATION = """\
@misc{alpaydin1998optical,
  author = {Alpaydin, E. and Kaynak, C.},
  title = {Optical Recognition of Handwritten Digits},
  year = {1998},
  howpublished = {UCI Machine Learning Repository},
  doi = {10.24432/C50P49}
}
"""

_NUM_TEST = 360
# Part of the data set's definition: another seed or rule needs another VERSION.
_SPLIT_SEED = 0


class Digits(tfds.core.GeneratorBasedBuilder):
    """Scikit-learn's digits as a TFDS data set: 1,437 training and 360 test images.

    The splits are fixed and stratified: every class has the same share of both, to within one
    image. Importing this module registers the builder, so that `tfds.load("digits")` works.

    Example:
      >>> Digits(data_dir="data").info.features["image"].shape
      (8, 8, 1)
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
            citation=_CITATION,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # nothing to download
        # Imported here because reading a prepared copy does not need scikit-learn.
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
        train, test = _stratified_split(digits.target)
        return {
            "train": self._generate_examples(images, digits.target, train),
            "test": self._generate_examples(images, digits.target, test),
        }

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray, indices: np.ndarray
    ) -> Iterator[tuple[int, dict]]:
        for index in indices.tolist():
            yield index, {"image": images[index], "label": int(labels[index])}


def _stratified_split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of the training and of the test images.

    The images are shuffled, sorted by class (stably), and the test images taken at equal
    distances from that row. `RandomState` and not `default_rng`: its stream is frozen for good.
    """
    shuffled = np.random.RandomState(_SPLIT_SEED).permutation(labels.size)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    is_test = np.zeros(labels.size, bool)
    is_test[(2 * np.arange(_NUM_TEST) + 1) * labels.size // (2 * _NUM_TEST)] = True
    return np.sort(by_class[~is_test]), np.sort(by_class[is_test])
