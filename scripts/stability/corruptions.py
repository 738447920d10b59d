# SPDX-License-Identifier: Apache-2.0
"""Images with noise: Gaussian of a given strength, and the usual corruptions.

These are the fifteen of ImageNet-C at five severities (Hendrycks and Dietterich, ICLR 2019,
https://arxiv.org/abs/1903.12261), from the package `imagecorruptions-imaug`. It takes images of 32
pixels and more: the pixels of smaller ones are repeated first, and one of each block is kept
afterwards, so that noise keeps its strength. The severities are those of ImageNet's large images.
"""

import contextlib
import inspect
from collections.abc import Iterator

import numpy as np

from homoode_tf import extras

SEVERITIES = (1, 2, 3, 4, 5)
_SMALLEST = 32


def gaussian(images: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    """Images in 0..255 plus normal noise of deviation `sigma`, clipped, float32."""
    noise = np.random.default_rng(seed).normal(scale=sigma, size=images.shape)
    return np.clip(images + noise, 0.0, 255.0).astype(np.float32)


def names() -> list[str]:
    """The names of the usual corruptions."""
    return _library().get_corruption_names("common")


def corrupt(images: np.ndarray, name: str, severity: int, seed: int = 0) -> np.ndarray:
    """Corrupted images.

    Args:
        images: uint8, of shape (images, height, width, 1 or 3).
        name: One of `names()`.
        severity: 1 to 5.
        seed: Of all that the corruption draws.

    Returns:
        uint8 images of the same shape. Of grey ones the corruption sees three equal channels, and
        the first one is kept.
    """
    library = _library()
    factor = -(-_SMALLEST // min(images.shape[1:3]))
    middle = factor // 2
    found = []
    with _seeded(seed):
        for number, image in enumerate(images):
            large = image.repeat(factor, axis=0).repeat(factor, axis=1)
            own = {"seed": seed + number} if _takes_seed(library, name) else {}
            result = library.corrupt(large, severity, name, **own)
            found.append(result[middle::factor, middle::factor, : image.shape[-1]])
    return np.stack(found)


class Corrupted:
    """Images with every corruption at every severity, each made once: for all runs the same.

    Args:
        images: As of `corrupt`.
    """

    def __init__(self, images: np.ndarray):
        self._images = images
        self._made: dict[tuple[str, int], np.ndarray] = {}

    def get(self, name: str, severity: int) -> np.ndarray:
        """The images with one corruption at one severity."""
        key = name, severity
        if key not in self._made:
            self._made[key] = corrupt(self._images, name, severity)
        return self._made[key]


@extras.explaining()
def _library():
    import imagecorruptions

    return imagecorruptions


def _takes_seed(library, name: str) -> bool:
    return "seed" in inspect.signature(library.corruption_dict[name]).parameters


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Within this context NumPy's global random numbers, which the library draws, are ours."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
