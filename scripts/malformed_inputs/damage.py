# SPDX-License-Identifier: Apache-2.0
"""Ways in which a file is damaged so that it can be no more what it was."""

import pathlib
import random
from collections.abc import Callable


def _cut(path: pathlib.Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


def _flip(path: pathlib.Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _overwrite(path: pathlib.Path, chance: random.Random) -> None:
    path.write_bytes(chance.randbytes(path.stat().st_size))


def _delete(path: pathlib.Path, chance: random.Random) -> None:
    del chance
    path.unlink()


def _empty(path: pathlib.Path, chance: random.Random) -> None:
    del chance
    path.write_bytes(b"")


def _to_folder(path: pathlib.Path, chance: random.Random) -> None:
    del chance
    path.unlink()
    path.mkdir()


def _to_dangling_link(path: pathlib.Path, chance: random.Random) -> None:
    del chance
    path.unlink()
    path.symlink_to("nothing")


WAYS: dict[str, Callable[[pathlib.Path, random.Random], None]] = {
    "cut short": _cut,
    "one bit flipped": _flip,
    "overwritten with random bytes": _overwrite,
    "deleted": _delete,
    "empty": _empty,
    "a folder in its place": _to_folder,
    "a dangling link in its place": _to_dangling_link,
}
