# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.data import Augmentation
from homoode_tf.data.augmentation import crop_and_flip

SHAPES = [(5, 8, 8, 1), (4, 6, 9, 3)]


def batch(shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(1, 256, shape).astype(dtype)


def crop_and_flip_one_by_one(images, offsets, flips, padding):
    results = []
    for image, (row, column), flip in zip(images, offsets, flips, strict=True):
        padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
        crop = padded[row : row + image.shape[0], column : column + image.shape[1]]
        results.append(np.fliplr(crop) if flip else crop)
    return np.stack(results)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_equals_cropping_and_flipping_each_image_with_numpy(shape, padding, dtype):
    rng = np.random.default_rng(1)
    images = batch(shape, dtype)
    offsets = rng.integers(0, 2 * padding + 1, (shape[0], 2), np.int32)
    flips = rng.random(shape[0]) < 0.5
    result = crop_and_flip(tf.constant(images), tf.constant(offsets), tf.constant(flips), padding)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, crop_and_flip_one_by_one(images, offsets, flips, padding))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_call_applies_what_is_drawn(shape):
    augment, images, seed = Augmentation(2, 0.5), batch(shape), tf.constant([3, 4], tf.int64)
    offsets, flips = augment.draw(shape[0], seed)
    np.testing.assert_array_equal(
        augment(images, seed),
        crop_and_flip_one_by_one(images, offsets.numpy(), flips.numpy(), 2),
    )


def test_the_padding_is_black():
    images = np.full((1, 8, 8, 3), 200, np.uint8)
    corner = crop_and_flip(images, tf.constant([[0, 6]]), tf.constant([False]), 3).numpy()[0]
    assert (corner[:3] == 0).all() and (corner[:, -3:] == 0).all()
    assert (corner[3:, :-3] == 200).all()


def test_every_offset_is_equally_likely():
    padding, count = 2, 20_000
    offsets, _ = Augmentation(padding).draw(count, tf.constant([0, 0], tf.int64))
    values = 2 * padding + 1
    cells = np.bincount(offsets.numpy() @ [values, 1], minlength=values**2)
    assert cells.size == values**2
    expected = count / values**2
    # Rows and columns independent: chi-squared with 24 degrees of freedom, 99.99 % below 60.
    assert ((cells - expected) ** 2 / expected).sum() < 60


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.5, 1.0])
def test_flips_have_the_probability_asked_for(probability):
    count = 20_000
    _, flips = Augmentation(0, probability).draw(count, tf.constant([0, 1], tf.int64))
    deviation = np.sqrt(probability * (1 - probability) / count)
    assert abs(flips.numpy().mean() - probability) <= 4 * deviation


def test_crops_and_flips_are_independent():
    offsets, flips = Augmentation(4, 0.5).draw(20_000, tf.constant([5, 5], tf.int64))
    correlation = np.corrcoef(offsets.numpy()[:, 0], flips.numpy())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(20_000)


def test_only_the_seed_and_the_step_decide():
    augment, images = Augmentation(4, 0.5), batch((16, 8, 8, 1))
    first = augment(images, (1, 2)).numpy()
    np.testing.assert_array_equal(first, augment(images, (1, 2)))
    np.testing.assert_array_equal(first, tf.function(augment)(images, tf.constant([1, 2])))
    for other in ((1, 3), (2, 2), (2, 1)):
        assert (first != augment(images, other).numpy()).any()


def test_nothing_to_do_leaves_the_images_as_they_are():
    images = batch((3, 8, 8, 1))
    assert Augmentation().is_identity
    assert not Augmentation(1).is_identity and not Augmentation(0, 0.1).is_identity
    np.testing.assert_array_equal(Augmentation()(images, (0, 0)), images)


def test_sizes_unknown_when_traced():
    augment, images = Augmentation(2, 0.5), batch((5, 8, 6, 3))
    traced = tf.function(
        augment,
        input_signature=[
            tf.TensorSpec((None, None, None, 3), tf.uint8),
            tf.TensorSpec((2,), tf.int64),
        ],
    )
    np.testing.assert_array_equal(traced(images, [7, 8]), augment(images, (7, 8)))


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"crop_padding": -1}, ValueError, "crop_padding must be an integer at least 0, got -1"),
        ({"crop_padding": 2.5}, TypeError, "crop_padding must be an integer at least 0, got 2.5"),
        (
            {"flip_probability": 1.1},
            ValueError,
            "flip_probability must be .* at most 1, got 1.1",
        ),
        ({"flip_probability": -0.1}, ValueError, "flip_probability"),
        ({"flip_probability": float("nan")}, ValueError, "flip_probability"),
    ],
)
def test_bad_arguments(arguments, kind, message):
    with pytest.raises(kind, match=message):
        Augmentation(**arguments)


MORE = Augmentation(rand_augment=2, rand_augment_strength=0.6, cutout=0.25)


@pytest.mark.parametrize("channels", [1, 3])
def test_rand_augment_and_cutout_are_functions_of_seed_and_place(channels):
    shape = (6, 16, 12, channels)
    images = np.random.default_rng(0).integers(50, 256, shape).astype(np.uint8)
    changed = MORE(images, seed=(3, 5)).numpy()
    assert changed.shape == shape and changed.dtype == np.uint8
    assert all((one != other).any() for one, other in zip(changed, images, strict=True))
    np.testing.assert_array_equal(MORE(images, seed=(3, 5)), changed)
    np.testing.assert_array_equal(MORE(images[2:5], (3, 5), first=2, batch_size=6), changed[2:5])
    assert (MORE(images, seed=(3, 6)).numpy() != changed).any()
    # No two images of the batch were changed alike.
    same = MORE(np.repeat(images[:1], 6, axis=0), seed=(3, 5)).numpy()
    assert len({image.tobytes() for image in same}) == 6


def test_cutout_covers_its_share():
    images = np.full((8, 20, 20, 3), 200, np.uint8)
    found = Augmentation(cutout=0.25)(images, seed=(0, 1)).numpy()
    assert {*np.unique(found)} == {0, 200}
    np.testing.assert_allclose((found == 0).mean(axis=(1, 2, 3)), 0.25, atol=0.07)


@pytest.mark.parametrize("way", ["mixup", "cutmix"])
def test_mixing(way):
    augment = Augmentation(**{way: 1.0})
    images = np.stack([np.full((8, 8, 1), 10 * k, np.uint8) for k in range(8)])
    mixed, shares = augment.mix(images, tf.range(8, dtype=tf.int64), (0, 3, 0), 8)
    assert mixed.shape == images.shape and mixed.dtype == tf.uint8
    np.testing.assert_allclose(np.sum(shares, axis=-1), 1.0, atol=1e-5)
    assert (np.max(shares, axis=-1) < 1).any()
    # The pixels of an image are of its classes in these shares.
    expected = shares.numpy() @ (10 * np.arange(8))
    tolerance = 1.0 if way == "mixup" else 15.0  # whole pixels
    np.testing.assert_allclose(np.mean(mixed, axis=(1, 2, 3)), expected, atol=tolerance)
    again, _ = augment.mix(images, tf.range(8, dtype=tf.int64), (0, 3, 0), 8)
    np.testing.assert_array_equal(mixed, again)
    other, _ = augment.mix(images, tf.range(8, dtype=tf.int64), (0, 4, 0), 8)
    assert (other.numpy() != mixed.numpy()).any()


def test_without_mixing_labels_stay():
    images, labels = np.zeros((2, 8, 8, 1), np.uint8), np.arange(2)
    assert Augmentation().mix(images, labels, (0, 0, 0), 2) == (images, labels)
    with pytest.raises(ValueError, match="mixup and cutmix cannot both be set, got 0.2 and 1.0"):
        Augmentation(mixup=0.2, cutmix=1.0)
