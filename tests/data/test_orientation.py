# SPDX-License-Identifier: Apache-2.0
import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from homoode_tf.data import orientation

PIXELS = np.arange(24, dtype=np.uint8).reshape(4, 6, 1)
MAKER = (0x010F, 2, 4, b"\x12\x01\x03\x00")  # four letters elsewhere, that look like the tag
SIZES = ((0x0100, 4, 1, 0x0112), (0x0101, 4, 1, 0x0112))


def exif(code, order="<", others=(MAKER, *SIZES), tag=orientation.TAG):
    """An EXIF block of a camera that names itself and the sizes, too."""
    number, block = len(others) + 1, b"II*\0" if order == "<" else b"MM\0*"
    block += struct.pack(f"{order}IH", 8, number)
    for name, kind, count, value in others:
        value = value if isinstance(value, bytes) else struct.pack(f"{order}I", value)
        block += struct.pack(f"{order}HHI", name, kind, count) + value
    return block + struct.pack(f"{order}HHIHHI", tag, 3, 1, code, 0, 0)


def jpeg(block=None, icc=None):
    content = io.BytesIO()
    options = {"exif": b"Exif\0\0" + block} if block else {}
    Image.new("L", (6, 4)).save(content, "JPEG", icc_profile=icc, **options)
    return content.getvalue()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("code", range(1, 9))
def test_the_code_is_what_pillow_finds(code, order):
    content = jpeg(exif(code, order), icc=b"Exif\0\0" * 99)
    with Image.open(io.BytesIO(content)) as image:
        assert image.getexif()[orientation.TAG] == code
    found = tf.function(orientation.of_jpeg)(tf.constant(content))
    assert found.dtype == tf.int32 and int(found) == code


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\6", b"\xff\xd8", jpeg(), jpeg(exif(9)), jpeg(exif(0))),
        *(jpeg(exif(6, tag=0x0113)), jpeg(exif(6)[:-8]), b"GIF89a" + jpeg(exif(6))[6:]),
    ],
)
def test_others_have_none(content):
    assert int(orientation.of_jpeg(tf.constant(content))) == 0


@pytest.mark.parametrize("code", range(9))
def test_upright_is_what_pillow_makes_of_it(code):
    image = Image.fromarray(PIXELS[..., 0])
    image.getexif()[orientation.TAG] = code
    expected = np.asarray(ImageOps.exif_transpose(image))[..., np.newaxis]
    np.testing.assert_array_equal(
        orientation.upright(tf.constant(PIXELS), tf.constant(code)), expected
    )
