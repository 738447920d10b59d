# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from homoode_tf.training.watch import pictures


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_samples_stand_in_rows_of_four(channels):
    images = np.full((5, 5, 7, channels), 200, np.uint8)
    names = ["a", "a name that is far too long for a tile"]
    page = pictures.samples(images, np.zeros(5, int), np.arange(5) % 2, names=names)
    width, height = page.size
    assert width % 4 == 0 and height % 2 == 0
    tile = width // 4
    shown = np.asarray(page)[: tile - 8, : 4 * tile].reshape(tile - 8, 4, tile, 3)
    np.testing.assert_array_equal(shown[4, :, 4], 4 * [[200, 200, 200]])
    # A wrong answer has a line more below it.
    captions = np.asarray(page)[tile : height // 2].reshape(-1, 4, tile, 3) < 128
    assert captions[:, 1].sum() > captions[:, 0].sum() > 0


@pytest.mark.parametrize("count", [2, 10, 47, 1000])
def test_the_confusion_is_darkest_where_most_images_are(count):
    matrix = np.zeros([count, count])
    matrix[0, 1], matrix[0, 0], matrix[1, 1] = 3, 1, 5
    page = np.asarray(pictures.confusion_matrix(matrix, [f"class{n}" for n in range(count)]))
    assert page.shape[0] < 2100 and page.shape[1] < 2100
    cell = (page.shape[0] - 14) // count
    corners = page[14::cell, page.shape[1] - cell * count :: cell].astype(int).sum(axis=-1)
    assert corners.shape == (count, count)
    assert corners[1, 1] < corners[0, 1] < corners[0, 0] < corners[1, 0] == 3 * 255
