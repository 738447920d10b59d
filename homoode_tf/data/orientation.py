# SPDX-License-Identifier: Apache-2.0
"""Photos upright: how the camera was held, as EXIF says, within a graph."""

import tensorflow as tf

TAG = 0x0112  # EXIF's
# A JPEG's EXIF block stands before anything large.
_HEAD = 2**14
# The first directory of an EXIF block, in either order of bytes: its length, and entries of twelve
# bytes, of which the wanted one is a short.
_EXIF = (
    r"^\C*?Exif\x00\x00(?:"
    r"II\*\x00\x08\x00\x00\x00\C\C(?:\C{12})*?\x12\x01\x03\x00\x01\x00\x00\x00([\x01-\x08])|"
    r"MM\x00\*\x00\x00\x00\x08\C\C(?:\C{12})*?\x01\x12\x00\x03\x00\x00\x00\x01\x00([\x01-\x08]))"
    r"\C*$"
)
_CODES = [bytes([code]) for code in range(9)]


def of_jpeg(content: tf.Tensor) -> tf.Tensor:
    """Returns EXIF's code of the orientation, 1 to 8, of a whole file; 0 where it has none.

    Args:
      content: The file, a scalar string; files of other formats have none here.

    Returns:
      A scalar int32.
    """
    head = tf.strings.substr(content, 0, _HEAD)
    found = tf.strings.regex_replace(head, _EXIF, r"\1\2")
    is_jpeg = tf.equal(tf.strings.substr(head, 0, 2), b"\xff\xd8")
    return tf.argmax(tf.cast(is_jpeg & (found == _CODES), tf.int32), output_type=tf.int32)


def upright(image: tf.Tensor, code: tf.Tensor) -> tf.Tensor:
    """Turns an image (height, width, channels) upright that has one of EXIF's orientations."""
    image = tf.transpose(image, tf.where(code >= 5, [1, 0, 2], [0, 1, 2]))

    def step(*mirrored: int) -> tf.Tensor:
        return tf.where(tf.reduce_any(code == mirrored), -1, 1)

    image = image[:: step(3, 4, 7, 8), :: step(2, 3, 6, 7)]
    return tf.ensure_shape(image, (None, None, None))
