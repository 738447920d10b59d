# SPDX-License-Identifier: Apache-2.0
"""Image files that Pillow cannot write."""

import struct
import zlib


def chunk(name, data):
    body = name + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(width, height, depth, colour, rows, *chunks, interlaced=0):
    """A PNG file, with the bytes of each row given as they are packed in the file."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*part) for part in [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    )
