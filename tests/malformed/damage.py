# SPDX-License-Identifier: Apache-2.0
"""Ways in which a file is damaged so that it can be no more what it was."""

import pathlib
import random

WAYS = (
    *("cut short", "one bit flipped", "overwritten with random bytes", "empty"),
    *("deleted", "a folder in its place", "a dangling link in its place"),
)


def damage(path: pathlib.Path, way: str, chance: random.Random) -> None:
    """Damages a file in one of `WAYS`."""
    content = bytearray(path.read_bytes())
    if way in WAYS[:4]:
        if way == "cut short":
            del content[chance.randrange(len(content)) :]
        elif way == "one bit flipped":
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        else:
            content = b"" if way == "empty" else chance.randbytes(len(content))
        path.write_bytes(content)
        return
    path.unlink()
    if way == "a folder in its place":
        path.mkdir()
    elif way == "a dangling link in its place":
        path.symlink_to("nothing")
