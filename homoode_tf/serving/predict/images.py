# SPDX-License-Identifier: Apache-2.0
"""From paths to arrays: finds image files and reads each as the model wants it."""

import contextlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from homoode_tf.checks import check_choice
from homoode_tf.errors import InvalidValueError
from homoode_tf.serving.predict import image_file
from homoode_tf.serving.predict.image_file import MAX_PIXELS, ImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
FITS = ("crop", "squeeze")
BACKGROUNDS = ("white", "black")
# Rows that are made opaque at a time.
_STRIP = 256


class Unreadable(NamedTuple):
    """A path with nothing to read, and why."""

    path: str
    reason: str


def find(paths: Iterable[str | os.PathLike]) -> Iterator[str | Unreadable]:
    """Yields the files that `paths` stand for, one at a time.

    Folders are searched to any depth for files with one of `SUFFIXES`, in upper or lower case, in
    the order of their names; links to folders inside them are not followed. Any other path is
    yielded as it is, whatever its suffix and whether or not it exists: `read` says so.

    Args:
        paths: Files and folders, in the order wanted.

    Yields:
        The path of a file; or `Unreadable` for a folder that cannot be listed, or holds no image.

    Example:
        >>> list(find(["picture.dat"]))
        ['picture.dat']
    """
    for path in (os.fspath(given) for given in paths):
        if not os.path.isdir(path):
            yield path
            continue
        empty = True
        for found in _search(path):
            empty = False
            yield found
        if empty:
            yield Unreadable(path, f"no {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file in it")


def _search(folder: str) -> Iterator[str | Unreadable]:
    # Not recursive: a folder can be deeper than Python's stack.
    pending = [(folder, True)]
    while pending:
        path, is_folder = pending.pop()
        if not is_folder:
            yield path
            continue
        try:
            with os.scandir(path) as entries:
                found = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
        except OSError as error:
            yield Unreadable(path, error.strerror or str(error))
            continue
        # A link to a folder can have an image's name; what else cannot be read is reported later.
        pending += sorted(
            (
                (path, deeper)
                for path, deeper in found
                if deeper or (path.lower().endswith(SUFFIXES) and not os.path.isdir(path))
            ),
            reverse=True,
        )


def read(
    path: str | os.PathLike,
    image_shape: Sequence[int],
    fit: str = "crop",
    background: str = "white",
) -> np.ndarray:
    """Reads a PNG, JPEG, WebP, BMP or GIF file of any size and mode, in the wanted shape.

    The image is turned upright as its EXIF says, transparent parts show the background, 16 bits
    become 8, and the colours become those of the model: with one channel, luma (ITU-R 601). Where
    the size is another, it is resized bilinearly with antialiasing; an image of the right size
    keeps its pixels. Of an animation it is the first frame. Colour profiles are ignored.

    Args:
        path: The file; its suffix does not matter.
        image_shape: (height, width, channels), with 1 or 3 channels.
        fit: For other proportions than the model's: "crop" covers the model's frame and cuts off
            what stands out on both sides, "squeeze" changes the proportions and keeps everything.
        background: "white", as most programs show transparency, or "black".

    Returns:
        uint8 array of shape `image_shape`.

    Raises:
        ImageError: If the file cannot be read, is no such image, is damaged or cut off, or is
            above a limit of `image_file`: 64 MiB, 50 million pixels, 100 scans, 100,000 parts.
        ValueError: If `image_shape`, `fit` or `background` is not allowed.

    Example:
        >>> from PIL import Image
        >>> Image.new("L", (20, 28)).save("digit.png")
        >>> read("digit.png", (8, 8, 1)).shape
        (8, 8, 1)
    """
    height, width, channels = image_shape
    if channels not in (1, 3):
        raise InvalidValueError(
            f"image_shape must end in 1 or 3 channels, got {tuple(image_shape)}"
        )
    check_choice("fit", fit, FITS)
    check_choice("background", background, BACKGROUNDS)
    image = _decode(path, "L" if channels == 1 else "RGB", background)
    # Both resize the pixels that they keep in one step, and neither those of the right size.
    resize = ImageOps.fit if fit == "crop" else Image.Image.resize
    return np.asarray(resize(image, (width, height), Image.Resampling.BILINEAR)).reshape(
        image_shape
    )


def _decode(path: str | os.PathLike, mode: str, background: str) -> Image.Image:
    """Reads the whole image, upright, in `mode` "L" or "RGB"."""
    try:
        content = io.BytesIO(image_file.read(path))
        with Image.open(content, formats=_FORMATS) as image:
            image_file.check_size(*image.size)
            whole = (0, 0, *image.size)
            # As the first frame of an animation may; that of a GIF is laid on its background.
            if image.format in ("PNG", "JPEG") and image.tile[0][1] != whole:
                raise ImageError("damaged image: its pixels do not fill it")
            _mend_transparency(image)
            image.load()
            # In place, so that the pixels are turned even where a damaged EXIF block, of which the
            # pixels are none the worse, cannot be written anew without its orientation.
            with contextlib.suppress(Exception):
                ImageOps.exif_transpose(image, in_place=True)
            return _flatten(_to_eight_bits(image), background, mode)
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageError(image_file.NO_IMAGE) from None
    except Image.DecompressionBombError:  # Pillow does not even open it.
        raise ImageError(f"too large: more than {MAX_PIXELS:,} pixels") from None
    except Exception as error:  # Damaged data bring about errors of any type in the decoders.
        if isinstance(error, OSError) and error.strerror:
            raise ImageError(error.strerror) from None
        reason = " ".join(str(error).split()) or type(error).__name__
        # Of what is packed in a PNG's text or colour profile, by the limits of that name.
        what = "too large" if "MAX_TEXT" in reason else "damaged image"
        raise ImageError(f"{what}: {reason}") from None


def _mend_transparency(image: Image.Image) -> None:
    """Brings the colour that stands for "transparent" to the 8 bits of the decoded pixels.

    Pillow leaves it at the depth of the file, and so finds it nowhere, or in the wrong places.
    """
    tiles = getattr(image, "tile", None)
    colour, depth = image.info.get("transparency"), tiles and tiles[0][3]
    if colour is None:
        return
    if depth in ("L;2", "L;4"):
        image.info["transparency"] = colour * (85 if depth == "L;2" else 17)
    elif depth == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    if not image.mode.startswith("I"):
        return image
    # 16-bit gray ("I" in older Pillows), which `convert` would cut off at 255. The high byte, as
    # Pillow itself takes it of 16-bit colours: it undoes the usual v -> 257 v exactly.
    values = np.asarray(image)
    gray = Image.fromarray((values >> 8).astype(np.uint8))
    if "transparency" in image.info:
        opaque = values != image.info["transparency"]
        gray.putalpha(Image.fromarray(np.where(opaque, 255, 0).astype(np.uint8)))
    return gray


def _flatten(image: Image.Image, background: str, mode: str) -> Image.Image:
    """Shows the background where the image is transparent; returns it in `mode`."""
    if image.mode not in ("LA", "RGBA") and "transparency" not in image.info:
        return image if image.mode == mode else image.convert(mode)
    flat = Image.new(mode, image.size)
    # By strips, because each step makes a copy.
    for top in range(0, image.height, _STRIP):
        box = (0, top, image.width, min(top + _STRIP, image.height))
        ground = Image.new("RGBA", (image.width, box[3] - top), background)
        strip = Image.alpha_composite(ground, image.crop(box).convert("RGBA")).convert("RGB")
        flat.paste(strip.convert(mode), box)
    return flat
