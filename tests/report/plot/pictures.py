# SPDX-License-Identifier: Apache-2.0
"""What can be said of a figure without looking at it."""

import numpy as np


def check_picture(path):
    """A PNG file with something on it, in more than black and white."""
    from matplotlib import image

    pixels = image.imread(path)[..., :3]
    assert min(pixels.shape[:2]) > 400
    drawn = (pixels < 0.99).any(axis=-1)
    assert 0.005 < drawn.mean() < 0.9
    # Something in each third of the width and of the height.
    for axis in (0, 1):
        assert all(part.any() for part in np.array_split(drawn, 3, axis=axis))
    assert (np.ptp(pixels, axis=-1) > 0.2).mean() > 1e-4
