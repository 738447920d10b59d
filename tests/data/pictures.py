# SPDX-License-Identifier: Apache-2.0
"""A user's folder of images, small, with all that can be found in one."""

import io
import os

import numpy as np
from PIL import Image

CLASSES = ("ash", "birch", "cedar", "douglas fir")
DAMAGED, EMPTY = "ash/004.png", "empty class"
_ROTATED_BY_90 = 6  # EXIF's code


def picture(number):
    """Image `number`: of the colour 3 * number, 30x40 or 64x48 pixels, every third grey."""
    height, width = (30, 40) if number % 8 < 4 else (64, 48)
    pixels = np.full((height, width, 3), 3 * number, np.uint8)
    image = Image.fromarray(pixels)
    return image.convert("L") if number % 3 == 0 else image


def number_of(image):
    """The number of the picture that an image was made of."""
    return int(np.asarray(image)[0, 0, 0]) // 3


def write(folder, count=60):
    """Writes so many pictures, by turns into four classes; one is damaged, one class is empty."""
    for number in range(count):
        path = folder / CLASSES[number % 4] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(path)
    damaged = folder / DAMAGED
    damaged.write_bytes(damaged.read_bytes()[:-30])
    (folder / EMPTY).mkdir()
    (folder / CLASSES[1] / "notes.txt").write_text("not an image")
    return folder


def turned_jpeg(pixels):
    """A JPEG that stands upright only once it is turned as its EXIF says."""
    content, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = _ROTATED_BY_90
    Image.fromarray(np.rot90(pixels)).save(content, "JPEG", exif=exif, quality=95)
    return content.getvalue()


def listing(folder):
    """All that is in a folder, with sizes and times."""
    return sorted(
        (path, os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in folder.rglob("*")
    )
