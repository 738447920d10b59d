# SPDX-License-Identifier: Apache-2.0
"""Images of any size and mode to those of one model: in training and in what is served, alike."""

import tensorflow as tf

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


def resize_and_crop(images: tf.Tensor, size: tuple[int, int], channels: int) -> tf.Tensor:
    """Scales images until they cover a frame, cuts off what stands out, and sets the colours.

    The middle is kept. Resizing is bilinear with antialiasing; an image of the right size keeps
    its pixels. Transparent parts show white; with one channel it is luma.

    Args:
      images: Tensor (height, width, c) or (batch, height, width, c) with values 0..255, and c 1
        (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGBA); every dimension may be unknown.
      size: (height, width) of the frame.
      channels: 1 or 3.

    Returns:
      A uint8 tensor (..., *size, channels).

    Example:
      >>> resize_and_crop(tf.zeros([30, 40, 4], tf.uint8), (32, 32), 3).shape
      TensorShape([32, 32, 3])
    """
    images = tf.cast(images, tf.float32)
    single = images.shape.rank == 3
    if single:
        images = images[tf.newaxis]
    shape = tf.shape(images)
    number, has_alpha = shape[3], shape[3] % 2 == 0
    opacity = tf.where(has_alpha, images[..., number - 1 :] / 255.0, 1.0)
    colours = images[..., : number - tf.cast(has_alpha, tf.int32)]
    colours = (colours * opacity + 255.0 * (1.0 - opacity)) * tf.ones(3)  # grey: three times
    if channels == 1:
        colours = tf.reduce_sum(colours * _LUMA, axis=-1, keepdims=True)
    given, wanted = tf.cast(shape[1:3], tf.float32), tf.constant(size, tf.float32)
    scale = tf.fill([2], tf.reduce_max(wanted / given))
    resized = tf.raw_ops.ScaleAndTranslate(
        images=colours,
        size=tf.constant(size, tf.int32),
        scale=scale,
        translation=(wanted - scale * given) / 2.0,
        kernel_type="triangle",
        antialias=True,
    )
    resized = tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)
    resized = tf.ensure_shape(resized, (None, *size, channels))
    return resized[0] if single else resized
