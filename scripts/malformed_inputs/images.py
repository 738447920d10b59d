# SPDX-License-Identifier: Apache-2.0
"""Files that give no image, and folders that give no model, for `python -m homoode_tf.predict`."""

import os
import pathlib
import random
import shutil
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator

from PIL import Image

from scripts.malformed_inputs import damage
from scripts.malformed_inputs.case import IMAGES, PREDICT, Case
from scripts.malformed_inputs.materials import Materials
from scripts.malformed_inputs.shuffling import forever, in_turn

_NO_IMAGE = ("damaged image", "neither a PNG nor a JPEG image", "empty file", "not a regular file")
_NO_FILE = ("no such file", "too many levels", "not a directory", "file name too long")


def make(materials: Materials, chance: random.Random, count: int) -> list[Case]:
    """Makes `count` cases: two files and then a model.

    Args:
        materials: What they are made from.
        chance: Decides everything.
        count: How many.
    """
    files = _files(materials, chance)
    return in_turn([files, files, _models(materials, chance)], count)


def _files(materials: Materials, chance: random.Random) -> Iterator[Case]:
    """One bad file beside a good one, which must be classified all the same."""
    for reason, (spoil, names) in forever(_SPOILED.items(), chance):
        folder = materials.new_folder()
        path = folder / "bad.png"
        while True:
            good = chance.choice(sorted(materials.images.iterdir()))
            shutil.copyfile(good, path)
            path = spoil(path, chance) or path
            if not _is_image(path):
                break
            # What was changed is not noticed, or makes another picture: not malformed.
        yield Case(
            IMAGES,
            f"{good.name}: {reason}",
            PREDICT,
            ["--saved_model", str(materials.saved_model), str(path), str(good)],
            names=names,
            begins=f"{path}: ",
            folder=folder,
        )


def _is_image(path: pathlib.Path) -> bool:
    """Whether Pillow, asked without this project, reads the whole file."""
    if not os.path.isfile(path):  # Opening a pipe would wait for who writes to it.
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.width * image.height < 10**7:
                    image.load()
                    return image.format in ("PNG", "JPEG")
    except Exception:  # Damaged data bring about errors of any type.
        pass
    return False


def _text(path: pathlib.Path, chance: random.Random) -> None:
    path.write_text("".join(chance.choices("\x89PNG lorem ipsum <svg> {}\r\n", k=200)))


def _magic(path: pathlib.Path, chance: random.Random) -> None:
    content = path.read_bytes()
    magic = chance.choice([b"GIF89a", b"BM", b"RIFF", b"%PDF-1.7", b"II*\0", bytes(8), b"\xff\xd9"])
    path.write_bytes(magic + content[len(magic) :])


def _another_format(path: pathlib.Path, chance: random.Random) -> None:
    with Image.open(path) as image:
        image.convert("RGB").save(path, format=chance.choice(["GIF", "BMP", "TIFF", "PPM", "WEBP"]))


def _bomb(path: pathlib.Path, chance: random.Random) -> None:
    """A header that claims a size far beyond what the file holds."""
    side = chance.choice([10_000, 40_000, 65_500, 2**31 - 1])
    if path.read_bytes().startswith(b"\x89PNG"):
        content = bytearray(path.read_bytes())
        content[16:24] = struct.pack(">II", side, side)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    else:
        content = bytearray(path.read_bytes())
        start = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
        content[start + 5 : start + 9] = struct.pack(">HH", *[min(side, 65_500)] * 2)
    path.write_bytes(content)


def _no_size(path: pathlib.Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if content.startswith(b"\x89PNG"):
        at = chance.choice([16, 20])
        content[at : at + 4] = bytes(4)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    else:
        start = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
        content[start + 5 : start + 9] = bytes(4)
    path.write_bytes(content)


def _many_bytes(path: pathlib.Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(chance.randrange(2, 50)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content)


def _pipe(path: pathlib.Path, chance: random.Random) -> None:
    del chance
    path.unlink()
    os.mkfifo(path)


def _device(path: pathlib.Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to(chance.choice(["/dev/zero", "/dev/null", "/dev/urandom"]))


def _loop(path: pathlib.Path, chance: random.Random) -> None:
    del chance
    path.unlink()
    path.symlink_to(path.name)


def _below_a_file(path: pathlib.Path, chance: random.Random) -> pathlib.Path:
    del chance
    return path / "below.png"


def _long_name(path: pathlib.Path, chance: random.Random) -> pathlib.Path:
    return path.with_name("x" * chance.randrange(256, 1000) + ".png")


def _odd_name(path: pathlib.Path, chance: random.Random) -> pathlib.Path:
    return path.with_name(chance.choice(["Ω", " ", "-", "%s", "*", "'", "{}", "~"]) + ".png")


_Spoil = Callable[[pathlib.Path, random.Random], pathlib.Path | None]
_SPOILED: dict[str, tuple[_Spoil, tuple[str, ...]]] = {
    **{way: (spoil, _NO_IMAGE) for way, spoil in damage.WAYS.items()},
    "deleted": (damage.WAYS["deleted"], _NO_FILE),
    "a dangling link in its place": (damage.WAYS["a dangling link in its place"], _NO_FILE),
    "a folder in its place": (damage.WAYS["a folder in its place"], ("no .png, .jpg or .jpeg",)),
    "text": (_text, _NO_IMAGE),
    "the first bytes of another format": (_magic, _NO_IMAGE),
    "another format": (_another_format, _NO_IMAGE),
    "a giant size": (_bomb, (*_NO_IMAGE, "too large")),
    "no size": (_no_size, _NO_IMAGE),
    "many bytes changed": (_many_bytes, (*_NO_IMAGE, "too large")),
    "a pipe in its place": (_pipe, _NO_IMAGE),
    "a device in its place": (_device, _NO_IMAGE),
    "a link to itself": (_loop, _NO_FILE),
    "below a file": (_below_a_file, _NO_FILE),
    "too long a name": (_long_name, _NO_FILE),
    "an odd name of no file": (_odd_name, _NO_FILE),
}


def _models(materials: Materials, chance: random.Random) -> Iterator[Case]:
    """SavedModels that are damaged, or no SavedModels."""
    files = ("saved_model.pb", "variables/variables.index", "variables/*.data*", "variables")
    ways = [(file, way) for file in files[:3] for way in damage.WAYS]
    ways += [("variables", "deleted"), ("", "deleted"), ("", "a file in its place")]
    for file, way in forever(ways, chance):
        folder = materials.new_folder()
        model = pathlib.Path(shutil.copytree(materials.saved_model, folder / "model"))
        if not file or file == "variables":
            shutil.rmtree(model / file)
            if way == "a file in its place":
                model.write_text("a file")
        else:
            (path,) = model.glob(file)
            damage.WAYS[way](path, chance)
        yield Case(
            IMAGES,
            f"{file or 'the model'}: {way}",
            PREDICT,
            ["--saved_model", str(model), str(materials.images / "digit.png")],
            names=["no readable SavedModel", "no such folder"],
            statuses=[2],
            folder=folder,
        )
