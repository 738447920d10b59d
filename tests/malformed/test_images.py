# SPDX-License-Identifier: Apache-2.0
"""Files that give no image, and folders that give no model, for `python -m homoode_tf.predict`."""

import contextlib
import faulthandler
import io
import os
import pathlib
import shutil
import struct
import tempfile
import warnings
import zlib

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from homoode_tf.serving.predict import command
from tests.malformed import commands
from tests.malformed.conftest import examples
from tests.malformed.damage import WAYS, damage

_NO_IMAGE = (
    "damaged image",
    "no PNG, JPEG, WebP, BMP or GIF image",
    "empty file",
    "not a regular file",
)
_NO_FILE = ("no such file", "too many levels", "not a directory", "file name too long")


def predict(*arguments, as_user):
    """`python -m homoode_tf.predict` in this process, or in one of its own."""
    arguments = list(map(str, arguments))
    if as_user:
        return commands.run(["-m", "homoode_tf.predict", *arguments], as_user=True)
    output, errors = io.StringIO(), io.StringIO()
    # What does not end ends the tests: no exception reaches code that waits in C.
    faulthandler.dump_traceback_later(commands.LIMIT, exit=True)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            status = command.main(arguments)
    finally:
        faulthandler.cancel_dump_traceback_later()
    return commands.Outcome(status, output.getvalue(), errors.getvalue())


# What the message names of each way to spoil an image.
_NAMES = {
    **dict.fromkeys(WAYS, _NO_IMAGE),
    **dict.fromkeys(
        ("text", "other magic", "other format", "no size", "pipe", "device"), _NO_IMAGE
    ),
    **dict.fromkeys(("giant size", "many bytes"), (*_NO_IMAGE, "too large")),
    **dict.fromkeys(("deleted", "a dangling link in its place", "a link to itself"), _NO_FILE),
    **dict.fromkeys(("below a file", "long name", "odd name"), _NO_FILE),
    "a folder in its place": ("no .png, .jpg, .jpeg, .webp",),
}


def spoil(path, way, chance):
    """Spoils an image in one of the ways of `_NAMES`; returns the path to ask about."""
    content = bytearray(path.read_bytes())
    if way in WAYS:
        damage(path, way, chance)
    elif way == "text":
        path.write_text("".join(chance.choices("\x89PNG lorem ipsum <svg> {}\r\n", k=200)))
    elif way == "other magic":
        magic = chance.choice([b"GIF89a", b"BM", b"RIFF", b"%PDF-1.7", b"II*\0", bytes(8), b"\xff"])
        path.write_bytes(magic + content[len(magic) :])
    elif way == "other format":
        with Image.open(path) as image:
            image = image.convert("RGB")
        image.save(path, format=chance.choice(["TIFF", "PPM", "ICO"]))
    elif way == "giant size":
        claim_size(path, *[chance.choice([10_000, 40_000, 65_500, 2**31 - 1])] * 2)
    elif way == "no size":
        claim_size(path, *chance.choice([(0, 48), (64, 0), (0, 0)]))
    elif way == "many bytes":
        for _ in range(chance.randrange(2, 50)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)
    elif way == "below a file":
        return path / "below.png"
    elif way == "long name":
        return path.with_name("x" * chance.randrange(256, 1000) + ".png")
    elif way == "odd name":
        return path.with_name(chance.choice(["Ω", " ", "-", "%s", "*", "'", "{}", "~"]) + ".png")
    else:
        path.unlink()
        if way == "pipe":
            os.mkfifo(path)
        else:
            devices = ["/dev/zero", "/dev/null", "/dev/urandom"]
            path.symlink_to(chance.choice(devices) if way == "device" else path.name)
    return path


def claim_size(path, width, height):
    """Lets the header of a PNG or JPEG file claim another size than the pixels have."""
    content = bytearray(path.read_bytes())
    if content.startswith(b"\x89PNG"):
        content[16:24] = struct.pack(">II", width, height)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    else:
        start = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
        content[start + 5 : start + 9] = struct.pack(">HH", min(height, 65_500), min(width, 65_500))
    path.write_bytes(content)


def is_image(path):
    """Whether Pillow, asked without this project, reads the whole file."""
    if not os.path.isfile(path):  # Opening a pipe would wait for who writes to it.
        return False
    # Damaged data bring about errors of any type.
    with (
        contextlib.suppress(Exception),
        warnings.catch_warnings(action="ignore"),
        Image.open(path) as image,
    ):
        if image.width * image.height < 10**7:
            image.load()
            return image.format in ("PNG", "JPEG", "WEBP", "BMP", "GIF")
    return False


_FILES = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")
_MODEL_WAYS = [
    *((file, way) for file in _FILES for way in WAYS),
    *(("variables", "deleted"), ("", "deleted"), ("", "a file in its place")),
]
_IMAGES = st.tuples(st.just("image"), st.sampled_from(list(_NAMES)))
_MODELS = st.tuples(st.just("model"), st.sampled_from(_MODEL_WAYS))


@examples(few=8)
@given(
    wrong=_IMAGES | _IMAGES | _MODELS,
    number=st.integers(0, 7),
    chance=st.randoms(use_true_random=True),
    as_user=st.sampled_from([False] * 49 + [True]),
)
def test_is_reported_in_one_line_and_the_rest_is_done(materials, wrong, number, chance, as_user):
    kind, way = wrong
    good = sorted(materials.images.iterdir())[number]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if kind == "image":
            model, names = materials.run / "saved_model" / "1", _NAMES[way]
            bad = spoil_image(good, folder, way, chance)
            statuses, begins = [1], f"{bad}: "
        else:
            model, names = folder / "model", ["no readable SavedModel", "no such folder"]
            spoil_model(materials.run / "saved_model" / "1", model, *way, chance)
            bad, statuses, begins = good, [2], "python -m homoode_tf.predict: "
        before = commands.contents(folder)
        outcome = predict("--saved_model", model, bad, good, as_user=as_user)
        assert commands.fault(outcome, names, statuses, begins) is None
        assert (f"{good} " in outcome.output) == (kind == "image")
        assert commands.contents(folder) == before


def spoil_image(good, folder, way, chance):
    """Puts a spoiled copy of an image into the folder; returns its path."""
    path = folder / "bad.png"
    while True:
        shutil.copyfile(good, path)
        bad = spoil(path, way, chance)
        if not is_image(bad):
            return bad
        # What was changed is not noticed, or makes another picture: not malformed.
        path.unlink()


def spoil_model(sound, model, file, way, chance):
    """Writes a damaged copy of a SavedModel."""
    shutil.copytree(sound, model)
    if file in _FILES:
        damage(model / file, way, chance)
        return
    shutil.rmtree(model / file)
    if way == "a file in its place":
        model.write_text("a file")
