# SPDX-License-Identifier: Apache-2.0
"""The batches that all peers see, in the same order."""

import pathlib

import numpy as np

from benchmarks.reference_model import IMAGE_SHAPE, NUM_CLASSES


def write_batches(
    folder: pathlib.Path, num_batches: int, batch_size: int, data_dir: str | None, seed: int = 0
) -> str:
    """Writes `images.npy` (uint8) and `labels.npy` (int64), each with a batch a row.

    Args:
        folder: Where to write.
        num_batches: How many batches.
        batch_size: Images in a batch.
        data_dir: TFDS folder with CIFAR-10; None draws pixels and labels at random.
        seed: Of the order, or of the pixels.

    Returns:
        What the images are, in words.
    """
    if data_dir is None:
        generator = np.random.default_rng(seed)
        images = generator.integers(0, 256, (num_batches, batch_size, *IMAGE_SHAPE), dtype=np.uint8)
        labels = generator.integers(0, NUM_CLASSES, (num_batches, batch_size))
    else:
        from homoode_tf import data

        cifar10 = data.load("cifar10", data_dir=data_dir)
        batches = cifar10.train_batches(
            batch_size, seed=seed, num_steps=num_batches, augmentation=data.Augmentation()
        )
        images, labels = map(np.stack, zip(*batches.as_numpy_iterator(), strict=True))
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels.astype(np.int64))
    return "random images" if data_dir is None else "CIFAR-10"


def read_batches(folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and labels, mapped from the files and not read into memory."""
    return tuple(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "labels"))
