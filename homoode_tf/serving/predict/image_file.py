# SPDX-License-Identifier: Apache-2.0
"""What an image file may cost, found out from its bytes before anything is decoded.

A few kilobytes can claim any number of pixels, or have them decoded again and again.
"""

import os
import re
import struct
import zlib
from collections.abc import Iterator

from homoode_tf import regular_file
from homoode_tf.errors import InvalidValueError, UserError

MAX_BYTES = 64 * 2**20
# What cameras of 50 megapixels give; decoding takes up to 10 bytes of memory for each.
MAX_PIXELS = 8192 * 6144
# Chunks of a PNG, segments of a JPEG: Pillow goes through them in Python.
MAX_PARTS = 100_000
# Of a progressive JPEG, each of which goes over all its pixels: encoders make about ten.
MAX_SCANS = 100

NO_IMAGE = "no PNG, JPEG, WebP, BMP or GIF image, or its header is damaged"
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
# Channels of each colour type, and the first pixel and the stride of Adam7's passes.
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)),
    (0, 1, 1, 2),
)
# Neither a stuffed zero, nor a restart of the scan, which have no length and end nothing.
_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
_START_OF_SCAN, _END_OF_IMAGE, _TEMPORARY = 0xDA, 0xD9, 0x01


class ImageError(UserError, ValueError):
    """A file that gives no image; the message is the reason, on one line, without the path."""


def read(path: str | os.PathLike) -> bytes:
    """Returns the content of an image file that is worth decoding.

    Raises:
        OSError: If the file cannot be read.
        ImageError: If it is no regular file, empty, above one of the limits of this module, or a
            PNG whose pixel data end early or are not what was written.
    """
    try:
        content = regular_file.read(path, MAX_BYTES)
    except InvalidValueError as error:
        raise ImageError(str(error)) from None
    if not content:
        raise ImageError("empty file")
    if content.startswith(_PNG):
        _check_png(content)
    elif content.startswith(_JPEG):
        _check_jpeg(content)
    return content


def check_size(width: int, height: int) -> None:
    """Refuses images of more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"too large: {width}x{height}, at most {MAX_PIXELS:,} pixels")


def _check_png(content: bytes) -> None:
    chunks = list(_parts("chunks", _chunks(content)))
    kinds = [kind for kind, _ in chunks]
    if kinds[:1] != [b"IHDR"] or kinds.count(b"IHDR") > 1 or len(chunks[0][1]) != 13:
        raise ImageError(NO_IMAGE)
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    check_size(width, height)
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    left = 0
    for x, y, right, down in passes:
        columns, rows = -(-(width - x) // right), -(-(height - y) // down)
        if columns > 0 and rows > 0:
            left += rows * (1 + -(-columns * depth * _CHANNELS.get(colour, 1) // 8))
    # Pillow reads what ends with a row, and leaves the rest black.
    inflate = zlib.decompressobj()
    for piece in (data for kind, data in chunks if kind == b"IDAT"):
        while left > 0 and piece and not inflate.eof:
            left -= len(inflate.decompress(piece, 2**20))
            piece = inflate.unconsumed_tail
    if left > 0:
        raise ImageError("damaged image: its pixel data end early")


def _chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yields kind and data of the chunks of a PNG up to its end; the last may be cut short."""
    view, position, kind = memoryview(content), len(_PNG), b""
    while kind != b"IEND" and position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        begin, end = position + 8, position + 8 + length
        # Of the other chunks Pillow checks it.
        if kind == b"IDAT" and zlib.crc32(view[begin - 4 : end]) != int.from_bytes(
            view[end : end + 4], "big"
        ):
            raise ImageError("damaged image: its pixel data are cut off or not what was written")
        yield kind, view[begin:end]
        position = end + 4


def _check_jpeg(content: bytes) -> None:
    markers = list(_parts("segments", _markers(content)))
    if markers.count(_START_OF_SCAN) > MAX_SCANS:
        raise ImageError(f"too large: {markers.count(_START_OF_SCAN)} scans, at most {MAX_SCANS}")


def _markers(content: bytes) -> Iterator[int]:
    """Yields the markers of a JPEG up to its end; not those within a segment, as of a preview."""
    position = len(_JPEG)
    while found := _MARKER.search(content, position):
        marker, position = found[1][0], found.end()
        yield marker
        if marker == _END_OF_IMAGE:
            return
        if marker != _TEMPORARY:
            position += int.from_bytes(content[position : position + 2], "big")


def _parts(name: str, parts: Iterator) -> Iterator:
    for number, part in enumerate(parts):
        if number == MAX_PARTS:
            raise ImageError(f"too large: more than {MAX_PARTS:,} {name}")
        yield part
