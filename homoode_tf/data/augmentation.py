# SPDX-License-Identifier: Apache-2.0
"""Random changes of a batch of images, without state: functions of a seed and a step."""

import dataclasses
import functools
from typing import Any

import keras
import tensorflow as tf

from homoode_tf.errors import InvalidValueError
from homoode_tf.settings import Settings, fraction, not_negative, setting

# What Keras's RandAugment chooses from; the last needs colours.
_POLICY = (
    *("random_shear", "random_translation", "random_rotation", "random_brightness"),
    *("random_contrast", "random_sharpness", "random_posterization", "solarization"),
    *("auto_contrast", "equalization", "random_color_degeneration"),
)


@dataclasses.dataclass(frozen=True)
class Augmentation(Settings):
    """Random crop and flip; RandAugment, cutout, MixUp and CutMix by Keras's layers.

    An image is padded with zeros and cropped back at a random place (both offsets are uniform on
    0..2*crop_padding), mirrored, changed by RandAugment, and loses a square; a batch is then mixed.

    Raises:
      InvalidValueError: A field is out of range, or both `mixup` and `cutmix` are set.

    Example:
      >>> augment = Augmentation(crop_padding=4, flip_probability=0.5)
      >>> augment(tf.zeros([2, 32, 32, 3], tf.uint8), seed=(0, 7)).shape
      TensorShape([2, 32, 32, 3])
    """

    crop_padding: int = setting(
        0, "Pixels of zeros on each side before the random crop; 0 turns it off.", at_least=0
    )
    flip_probability: float = setting(
        0.0, "Probability that an image is mirrored left to right.", at_least=0, at_most=1
    )

    rand_augment: int = not_negative(
        0, "Operations of RandAugment on each image; 0 turns it off.", at_most=8
    )
    rand_augment_strength: float = setting(0.5, "Of these.", at_least=0, at_most=1)
    cutout: float = fraction(0.0, "Share of each image that a black patch covers.")
    mixup: float = setting(0.0, "Alpha of MixUp; 0 turns it off.", at_least=0, at_most=1)
    cutmix: float = setting(0.0, "Alpha of CutMix; 0 turns it off.", at_least=0, at_most=1)

    def __post_init__(self):
        super().__post_init__()
        if self.mixup and self.cutmix:
            raise InvalidValueError(
                f"mixup and cutmix cannot both be set, got {self.mixup} and {self.cutmix}."
            )

    @property
    def is_identity(self) -> bool:
        """Whether no image is ever changed."""
        return not any(
            getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "rand_augment_strength"
        )

    def prepare(self) -> None:
        """Makes Keras's layers; a graph in which they are made is traced twice."""
        if self.rand_augment or self.cutout:
            _layers(self.rand_augment_strength, self.cutout)
        if self.mixup or self.cutmix:
            _mixer(self.mixup, self.cutmix)

    def draw(self, batch_size: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws what happens to each image of a batch; a function of its arguments alone.

        Args:
          batch_size: The number of images.
          seed: Integer tensor of shape (2,).

        Returns:
          offsets: int32 tensor (batch_size, 2), the row and column where the crop starts.
          flips: bool tensor (batch_size,).
        """
        crop_seed, flip_seed = (_fold_in(seed, stream) for stream in (0, 1))
        offsets = tf.random.stateless_uniform(
            (batch_size, 2), crop_seed, 0, 2 * self.crop_padding + 1, tf.int32, alg="philox"
        )
        uniform = tf.random.stateless_uniform((batch_size,), flip_seed, alg="philox")
        return offsets, uniform < self.flip_probability

    def __call__(
        self, images: tf.Tensor, seed: tf.Tensor, first: int = 0, batch_size: int | None = None
    ) -> tf.Tensor:
        """Augments a batch, or a part of one as it would be in the whole.

        Args:
          images: Tensor (batch, height, width, channels) of any dtype, pixels 0..255.
          seed: Integers of shape (2,), usually (run's seed, step): equal seeds, equal results.
          first: The place of the first image in the whole batch.
          batch_size: The size of that; None is that of `images`.

        Returns:
          A tensor of the shape and dtype of `images`.
        """
        images = tf.convert_to_tensor(images)
        seed = tf.cast(tf.convert_to_tensor(seed), tf.int64)
        size = images.shape[0] if images.shape[0] is not None else tf.shape(images)[0]
        if self.crop_padding or self.flip_probability:
            drawn = self.draw(batch_size or size, seed)
            offsets, flips = (numbers[first : first + size] for numbers in drawn)
            images = crop_and_flip(images, offsets, flips, self.crop_padding)
        if self.rand_augment or self.cutout:
            images = tf.map_fn(
                lambda one: self._alter(one[0], _fold_in(seed, 2, one[1])),
                (images, tf.range(first, first + size)),
                fn_output_signature=tf.TensorSpec(images.shape[1:], images.dtype),
            )
        return images

    def mix(
        self, images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, num_classes: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Mixes the images of a batch with each other, and their labels.

        Args:
          images: uint8 tensor (batch, height, width, channels).
          labels: int64 tensor (batch,).
          seed: Integers of shape (3,): the run's seed, the step, and the place of this part in the
            whole batch, for the parts are mixed each by itself.
          num_classes: The number of classes.

        Returns:
          Both as they were; or, with `mixup` or `cutmix`, mixed images and the classes' shares,
          float32 tensor (batch, num_classes).
        """
        if not (self.mixup or self.cutmix):
            return images, labels
        images, seed = tf.convert_to_tensor(images), tf.cast(seed, tf.int64)
        layer = _mixer(self.mixup, self.cutmix)
        transformation = layer.get_random_transformation(
            images, training=True, seed=_Draws(_fold_in(seed[:2], 3, seed[2]))
        )
        mixed = layer.transform_images(images, transformation, training=True)
        one_hot = tf.one_hot(labels, num_classes)
        return _back(mixed, images), layer.transform_labels(one_hot, transformation, training=True)

    def _alter(self, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """RandAugment and cutout of one image; its operations are drawn for it alone."""
        given = image
        policy, cutout = _layers(self.rand_augment_strength, self.cutout)
        policy = policy[: None if image.shape[-1] == 3 else -1]
        image = tf.cast(image, tf.float32)[tf.newaxis]

        def operate(number: tf.Tensor, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            draws = _Draws(_fold_in(seed, number))
            which = tf.random.stateless_uniform(
                (), draws.next(), 0, len(policy), tf.int32, alg="philox"
            )
            calls = [functools.partial(_apply, layer, image, draws) for layer in policy]
            return number + 1, tf.ensure_shape(tf.switch_case(which, calls), image.shape)

        _, image = tf.while_loop(lambda number, _: number < self.rand_augment, operate, (0, image))
        if self.cutout:
            image = _apply(cutout, image, _Draws(seed))
        return _back(image[0], given)


class _Draws(keras.random.SeedGenerator):
    """Seeds for Keras's layers that are functions of one seed; Keras's own are a state."""

    def __init__(self, seed: tf.Tensor):
        self._seed, self._count = seed, 0

    def next(self, ordered: bool = True) -> tf.Tensor:
        self._count += 1
        return tf.cast(_fold_in(self._seed, self._count), tf.int32)


def _fold_in(seed: tf.Tensor, *numbers: Any) -> tf.Tensor:
    # One named algorithm, so that no device chooses its own.
    for number in numbers:
        seed = tf.random.experimental.stateless_fold_in(seed, number, alg="philox")
    return seed


def _apply(layer: Any, image: tf.Tensor, draws: _Draws) -> tf.Tensor:
    transformation = layer.get_random_transformation(image, training=True, seed=draws)
    return tf.cast(layer.transform_images(image, transformation, training=True), tf.float32)


def _back(changed: tf.Tensor, given: tf.Tensor) -> tf.Tensor:
    """Brings changed pixels to the dtype and the shape that they had."""
    if given.dtype.is_integer:
        changed = tf.round(tf.clip_by_value(changed, 0.0, 255.0))
    return tf.ensure_shape(tf.cast(changed, given.dtype), given.shape)


# Keras's layers have variables (of seeds, which are not used): made once, outside of any graph.
@functools.lru_cache(maxsize=8)
def _layers(strength: float, cutout: float) -> tuple[list[Any], Any]:
    with tf.init_scope():
        policy = keras.layers.RandAugment(factor=strength, seed=0, dtype="float32")
        square = keras.layers.RandomErasing(
            (1.0, 1.0), scale=(cutout, cutout), fill_value=0, seed=0, dtype="float32"
        )
    return [getattr(policy, name) for name in _POLICY], square


@functools.lru_cache(maxsize=8)
def _mixer(mixup: float, cutmix: float) -> Any:
    with tf.init_scope():
        if mixup:
            return keras.layers.MixUp(mixup, seed=0, dtype="float32")
        return keras.layers.CutMix((cutmix, cutmix), seed=0, dtype="float32")


def crop_and_flip(
    images: tf.Tensor, offsets: tf.Tensor, flips: tf.Tensor, padding: int
) -> tf.Tensor:
    """Pads with zeros, crops each image at its own offset and mirrors those that are marked.

    out[n, i, j] = padded[n, offsets[n, 0] + i, offsets[n, 1] + (W - 1 - j if flips[n] else j)]

    One gather of pixels for the whole batch: about a millisecond for 64 images of 32x32.

    Args:
      images: Tensor (batch, height, width, channels).
      offsets: int32 tensor (batch, 2), each in 0..2*padding.
      flips: bool tensor (batch,).
      padding: Pixels of zero padding on each side.

    Returns:
      A tensor of the shape and dtype of `images`.
    """
    batch, height, width, channels = (
        static if static is not None else tf.shape(images)[axis]
        for axis, static in enumerate(images.shape)
    )
    sides = (padding, padding)
    padded = tf.pad(images, ((0, 0), sides, sides, (0, 0)))
    columns = tf.range(width)
    columns = tf.where(flips[:, tf.newaxis], width - 1 - columns, columns) + offsets[:, 1:]
    rows = tf.range(height) + offsets[:, :1]
    rows += (height + 2 * padding) * tf.range(batch)[:, tf.newaxis]  # of all images, stacked
    pixels = (width + 2 * padding) * rows[:, :, tf.newaxis] + columns[:, tf.newaxis, :]
    return tf.gather(tf.reshape(padded, (-1, channels)), pixels)
