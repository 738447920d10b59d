# SPDX-License-Identifier: Apache-2.0
import inspect
import io
import os
import pathlib
import re
import struct
import sys
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from homoode_tf.serving.predict import image_file, images
from tests.serving.predict.files import png

RED, BLUE, GRAY = (200, 30, 40), (10, 20, 220), (90, 90, 90)


def save(path, image, **options):
    image.save(path, **options)
    return path


def luma(colour):
    return np.dot(colour, [0.299, 0.587, 0.114])


def smooth(height, width, seed=0):
    """A smooth picture: corners of random colours, blended."""
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3)).astype(np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("suffix", "mode"),
    [("png", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")]
    + [("jpg", mode) for mode in ("1", "L", "RGB", "YCbCr", "CMYK")],
)
def test_every_mode_gives_its_colour(tmp_path, suffix, mode, channels):
    colour = {"1": (255, 255, 255), "L": GRAY, "LA": GRAY, "I;16": GRAY}.get(mode, RED)
    if mode == "I;16":
        image = Image.fromarray(np.full((16, 16), GRAY[0] * 257, np.uint16))
    else:
        image = Image.new("RGB", (16, 16), colour).convert(mode, palette=Image.Palette.ADAPTIVE)
    path = save(tmp_path / f"image.{suffix}", image)
    found = images.read(path, (8, 8, channels))
    assert found.dtype == np.uint8 and found.shape == (8, 8, channels)
    expected = colour if channels == 3 else luma(colour)
    tolerance = 3 if suffix == "jpg" else 1
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=tolerance)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_of_the_right_size_keeps_its_pixels(tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, channels)).astype(np.uint8)
    (tmp_path / "image.png").write_bytes(tf.io.encode_png(pixels).numpy())
    np.testing.assert_array_equal(images.read(tmp_path / "image.png", pixels.shape), pixels)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2), (50, 80), (701, 333)])
@pytest.mark.parametrize("fit", images.FITS)
@pytest.mark.parametrize("frame", [(8, 8), (5, 12), (12, 5), (1, 1)])
def test_every_size_fits(tmp_path, size, fit, frame):
    path = save(tmp_path / "image.png", Image.new("RGB", size, RED))
    found = images.read(path, (*frame, 3), fit)
    np.testing.assert_array_equal(found, np.broadcast_to(np.uint8(RED), found.shape))


@pytest.mark.parametrize(("height", "width"), [(40, 120), (120, 40)])
def test_crop_keeps_the_middle_and_squeeze_keeps_everything(tmp_path, height, width):
    """Three squares in a row: the first red, the second gray, the third blue."""
    pixels = np.empty((40, 120, 3), np.uint8)
    pixels[:, :40], pixels[:, 40:80], pixels[:, 80:] = RED, GRAY, BLUE
    if height > width:
        pixels = pixels.swapaxes(0, 1)
    path = save(tmp_path / "image.png", Image.fromarray(pixels))
    cropped = images.read(path, (10, 10, 3))
    # Antialiasing lets the pixels at the edges see beyond them.
    inner = cropped[1:-1, 1:-1]
    np.testing.assert_array_equal(inner, np.broadcast_to(GRAY, inner.shape))
    squeezed = images.read(path, (12, 12, 3), "squeeze")
    np.testing.assert_array_equal(squeezed[0, 0], RED)
    np.testing.assert_array_equal(squeezed[6, 6], GRAY)
    np.testing.assert_array_equal(squeezed[-1, -1], BLUE)


def test_resizing_is_antialiased(tmp_path):
    """A fine chequered board becomes gray, not a pattern of the pixels that were hit."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    path = save(tmp_path / "image.png", Image.fromarray(board))
    found = images.read(path, (8, 8, 1))
    np.testing.assert_allclose(found, np.full_like(found, 128), atol=2)


def test_agrees_with_tensorflow(tmp_path):
    path = save(tmp_path / "image.png", smooth(90, 60))
    pixels = tf.io.decode_png(path.read_bytes())
    expected = tf.image.resize(pixels, (12, 12), "bilinear", antialias=True)
    found = images.read(path, (12, 12, 3), "squeeze")
    np.testing.assert_allclose(found, expected, atol=1)
    expected = tf.image.resize(pixels[15:75], (12, 12), "bilinear", antialias=True)
    np.testing.assert_allclose(images.read(path, (12, 12, 3)), expected, atol=1)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_image_upright(tmp_path, orientation, suffix):
    upright = smooth(48, 80, seed=2)
    # From the definition of the tag: which side of the scene the file's rows and columns begin at.
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation](np.asarray(upright))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    options = {"quality": 95, "subsampling": 0} if suffix == "jpg" else {}
    path = save(tmp_path / f"image.{suffix}", image, exif=exif, **options)
    found = images.read(path, (48, 80, 3)).astype(int)
    np.testing.assert_allclose(found, np.asarray(upright).astype(int), atol=6)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_a_senseless_orientation_is_ignored(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = smooth(10, 10)
    path = save(tmp_path / "image.png", image, exif=exif)
    np.testing.assert_array_equal(images.read(path, (10, 10, 3)), image)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0XX*\0\0\0\0\x08", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12"],
    ids=["header", "cut"],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_cost_the_image(tmp_path, suffix, exif):
    image = smooth(10, 10)
    path = save(tmp_path / f"image.{suffix}", image, exif=exif)
    found = images.read(path, (10, 10, 3)).astype(int)
    np.testing.assert_allclose(found, np.asarray(image).astype(int), atol=30)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits(tmp_path, channels):
    """Values 257 v, which is how 8 bits are written with 16; and the values between them."""
    levels = np.arange(256).reshape(16, 16, 1)
    pixels = np.repeat(levels, channels, axis=-1)
    if channels in (2, 4):
        pixels[..., -1] = 255
    pixels = (pixels * 257).astype(np.uint16)
    path = tmp_path / "image.png"
    path.write_bytes(tf.io.encode_png(pixels).numpy())
    np.testing.assert_array_equal(images.read(path, (16, 16, 1)), levels)
    np.testing.assert_array_equal(images.read(path, (16, 16, 3)), np.repeat(levels, 3, axis=-1))


@pytest.mark.parametrize(("background", "shade"), [("white", 255), ("black", 0)])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_shows_the_background(tmp_path, mode, background, shade):
    pixels = np.full((4, 4, len(mode)), 100, np.uint8)
    pixels[0, :, -1], pixels[1, :, -1], pixels[2:, :, -1] = 0, 51, 255
    path = save(tmp_path / "image.png", Image.fromarray(pixels))
    found = images.read(path, (4, 4, 1), background=background)[:, 0, 0]
    np.testing.assert_allclose(found, [shade, 0.2 * 100 + 0.8 * shade, 100, 100], atol=1)


@pytest.mark.parametrize(
    ("depth", "colour", "row", "chunks"),
    [
        # In each the first pixel is a transparent one, the second opaque and of value 170.
        (1, 0, b"\x40", [(b"tRNS", b"\0\0")]),
        (2, 0, b"\x60", [(b"tRNS", b"\0\1")]),
        (4, 0, b"\x5a", [(b"tRNS", b"\0\5")]),
        (8, 0, b"\x55\xaa", [(b"tRNS", b"\0\x55")]),
        (16, 0, b"\x55\x22\xaa\xaa", [(b"tRNS", b"\x55\x22")]),
        (8, 2, b"\1\2\3\xaa\xaa\xaa", [(b"tRNS", b"\0\1\0\2\0\3")]),
        (16, 2, b"\1\6\2\5\3\4\xaa\0\xaa\0\xaa\0", [(b"tRNS", b"\1\6\2\5\3\4")]),
        (1, 3, b"\x40", [(b"PLTE", b"\1\2\3\xaa\xaa\xaa"), (b"tRNS", b"\0")]),
        (8, 3, b"\0\1", [(b"PLTE", b"\1\2\3\xaa\xaa\xaa"), (b"tRNS", b"\0\xff")]),
        (8, 4, b"\x05\0\xaa\xff", []),
        (16, 4, b"\x05\0\0\0\xaa\0\xff\xff", []),
        (8, 6, b"\1\2\3\0\xaa\xaa\xaa\xff", []),
        (16, 6, b"\1\0\2\0\3\0\0\0\xaa\0\xaa\0\xaa\0\xff\xff", []),
    ],
)
def test_every_way_of_png_to_be_transparent(tmp_path, depth, colour, row, chunks):
    path = tmp_path / "image.png"
    path.write_bytes(png(2, 1, depth, colour, [row], *chunks))
    opaque = 255 if depth == 1 and colour == 0 else 170
    for background, shade in (("white", 255), ("black", 0)):
        found = images.read(path, (1, 2, 3), background=background)
        np.testing.assert_array_equal(found[0], [[shade] * 3, [opaque] * 3])


def encoded(kind):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(
        buffer, kind
    )
    return buffer.getvalue()


def flipped(content):
    """The same with one bit of the pixel data another."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def claiming(side):
    """A JPEG whose header says that it is larger."""
    content = bytearray(encoded("JPEG"))
    start = content.index(b"\xff\xc0")
    content[start + 5 : start + 9] = struct.pack(">HH", side, side)
    return bytes(content)


def scans(count):
    """A progressive JPEG of so many scans, and one more in a preview, which does not count."""
    buffer = io.BytesIO()
    smooth(16, 16).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    begin, more = content.rindex(b"\xff\xda"), count - content.count(b"\xff\xda")
    preview = b"\xff\xe2\0\x04\xff\xda"
    return content[:2] + preview + content[2:-2] + more * content[begin:-2] + content[-2:]


# One frame, smaller than the image; and one of half its rows, where the data are those of all.
ANIMATION = (b"acTL", struct.pack(">II", 1, 0))
APNG, APNG_WITH_ALL_ROWS = (
    png(8, 8, 8, 0, rows, ANIMATION, (b"fcTL", struct.pack(">5IHHBB", 0, *size, 0, 0, 1, 1, 0, 0)))
    for rows, size in (([bytes(4)] * 4, (4, 4)), ([bytes(8)] * 8, (8, 4)))
)
PROFILE = png(1, 1, 8, 0, [b"\0"], (b"iCCP", b"name\0\0" + zlib.compress(bytes(2**21))))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.png", b"", "empty file"),
        ("text.png", b"not an image\n", "no PNG, JPEG, WebP"),
        ("signature.png", b"\x89PNG\r\n\x1a\n", "no PNG, JPEG, WebP"),
        ("cut.png", encoded("PNG")[:-2000], "damaged image: its pixel data are cut off"),
        ("flipped.png", flipped(encoded("PNG")), "damaged image: .* not what was written"),
        ("apng.png", APNG, "damaged image: its pixel data end early"),
        ("apng2.png", APNG_WITH_ALL_ROWS, "damaged image: its pixels do not fill it"),
        ("scans.jpg", scans(101), "^too large: 101 scans, at most 100$"),
        ("profile.png", PROFILE, "^too large: "),
        ("cut.jpg", encoded("JPEG")[:-500], "damaged image: .*truncated"),
        ("image.tiff", encoded("TIFF"), "no PNG, JPEG, WebP"),
        ("cut.gif", encoded("GIF")[:-2000], "damaged image"),
        ("ended.gif", encoded("GIF")[:-2000] + b"\0;", "damaged image"),
        ("cut.bmp", encoded("BMP")[:-2000], "damaged image"),
        ("cut.webp", encoded("WEBP")[:-100], "damaged image|no PNG, JPEG, WebP"),
        (
            "bomb.png",
            png(30_000, 30_000, 8, 0, [b""]),
            "too large: 30000x30000, at most 50,331,648",
        ),
        ("bomb.jpg", claiming(8200), "too large: 8200x8200, at most 50,331,648 pixels"),
        ("greater_bomb.jpg", claiming(60_000), "too large: more than 50,331,648 pixels"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_says_why_a_file_gives_no_image(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(images.ImageError, match=reason) as caught:
        images.read(tmp_path / name, (8, 8, 1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 9), (5, 3), (16, 24)])
def test_every_row_must_be_there(tmp_path, height, width, interlaced):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width)).astype(np.uint8)
    # The passes of Adam7 as the standard's figure gives them, each for itself.
    halves = ("16462646", "36463646")
    figure = [list(map(int, row)) for h in halves for row in (h, "7" * 8, "56565656", "7" * 8)]
    passes = np.tile(figure, (2, 3))[:height, :width] if interlaced else np.ones_like(pixels)
    rows = [
        row[cells == number].tobytes()
        for number in range(1, 8)
        for row, cells in zip(pixels, passes, strict=True)
        if (cells == number).any()
    ]
    path = tmp_path / "image.png"
    path.write_bytes(png(width, height, 8, 0, rows, interlaced=interlaced))
    np.testing.assert_array_equal(images.read(path, (height, width, 1))[..., 0], pixels)
    for count in range(len(rows)):
        path.write_bytes(png(width, height, 8, 0, rows[:count], interlaced=interlaced))
        with pytest.raises(images.ImageError, match="^damaged image: its pixel data end early$"):
            images.read(path, (height, width, 1))


@pytest.mark.parametrize(
    ("limit", "value", "content", "reason"),
    [
        ("MAX_BYTES", 1000, encoded("PNG"), "too large: [0-9,]+ bytes, at most 1,000"),
        ("MAX_PARTS", 2, encoded("PNG"), "too large: more than 2 chunks"),
        ("MAX_PARTS", 5, encoded("JPEG"), "too large: more than 5 segments"),
    ],
)
def test_limits_are_named(tmp_path, monkeypatch, limit, value, content, reason):
    (tmp_path / "image").write_bytes(content)
    images.read(tmp_path / "image", (8, 8, 1))
    monkeypatch.setattr(image_file, limit, value)
    with pytest.raises(images.ImageError, match=f"^{reason}$"):
        images.read(tmp_path / "image", (8, 8, 1))


def test_a_hundred_scans_are_read(tmp_path):
    (tmp_path / "image.jpg").write_bytes(scans(100))
    assert images.read(tmp_path / "image.jpg", (16, 16, 3)).shape == (16, 16, 3)


def test_what_follows_the_end_does_not_count(tmp_path):
    padding = bytes(12 * (image_file.MAX_PARTS + 1))
    for kind in ("PNG", "JPEG"):
        (tmp_path / "image").write_bytes(encoded(kind) + padding)
        assert images.read(tmp_path / "image", (40, 40, 3)).any()


def test_a_high_transparent_image_is_laid_on_the_background_as_a_whole(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (600, 3, 4)).astype(np.uint8)
    path = save(tmp_path / "image.png", Image.fromarray(pixels))
    whole = Image.new("RGBA", (3, 600), "white")
    whole.alpha_composite(Image.fromarray(pixels))
    np.testing.assert_array_equal(images.read(path, (600, 3, 3)), whole.convert("RGB"))


def test_says_why_a_path_is_no_file(tmp_path, monkeypatch):
    with pytest.raises(images.ImageError, match="^No such file or directory$"):
        images.read(tmp_path / "missing.png", (8, 8, 1))
    with pytest.raises(images.ImageError, match="^not a regular file$"):
        images.read(tmp_path, (8, 8, 1))
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for ever
    with pytest.raises(images.ImageError, match="^not a regular file$"):
        images.read(tmp_path / "pipe.png", (8, 8, 1))
    path = save(tmp_path / "secret.png", smooth(8, 8))

    def refuse(*_, **__):  # whoever runs the tests as root may read everything
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(images.ImageError, match="^Permission denied$"):
        images.read(path, (8, 8, 1))


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_of_an_animation_it_is_the_first_frame(tmp_path, kind):
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    path = tmp_path / "image"
    first.save(path, kind, save_all=True, append_images=[second])
    distance = np.abs(images.read(path, (8, 8, 3)).astype(int) - (255, 0, 0))
    assert distance.max() < 8  # WebP loses something


@pytest.mark.parametrize(("kind", "most"), [("BMP", 0), ("GIF", 40), ("WEBP", 40)])
def test_other_formats_have_the_pixels_that_were_saved(tmp_path, kind, most):
    colours = np.linspace(0, 255, 16 * 16 * 3).reshape(16, 16, 3).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "image", kind)
    found = images.read(tmp_path / "image", (16, 16, 3)).astype(int)
    assert np.abs(found - colours).max() <= most


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_random_damage_gives_an_image_or_a_reason(tmp_path, kind):
    whole = encoded(kind)
    random = np.random.default_rng(7)
    path = tmp_path / "image"
    outcomes = {"image": 0, "reason": 0}
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(random.integers(0, 12)):
            # Half of the damage in the header, which is small but steers everything.
            end = len(content) if random.random() < 0.5 else 200
            content[random.integers(0, end)] = random.integers(0, 256)
        if random.random() < 0.3:
            del content[random.integers(0, len(content)) :]
        path.write_bytes(content)
        try:
            found = images.read(path, (8, 8, 3))
        except images.ImageError as error:
            outcomes["reason"] += 1
            assert re.fullmatch(r"[^\n]+", str(error))
        else:
            outcomes["image"] += 1
            assert found.shape == (8, 8, 3) and found.dtype == np.uint8
    assert min(outcomes.values()) > 10, outcomes


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (((8, 8, 4),), "image_shape .*(8, 8, 4)"),
        (((8, 8, 1), "pad"), "fit .*crop, squeeze.*'pad'"),
        (((8, 8, 1), "crop", "pink"), "background .*white, black.*'pink'"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, arguments, named):
    with pytest.raises(ValueError, match=named) as caught:
        images.read(tmp_path / "image.png", *arguments)
    assert not isinstance(caught.value, images.ImageError)


def tree(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"-")


def test_folders_are_searched_in_the_order_of_names(tmp_path):
    tree(
        tmp_path,
        "b.PNG",
        "a.jpeg",
        "c.JpG",
        "notes.txt",
        "png",
        "b/z.png",
        "b/a/deep.png",
        "x.tiff",
    )
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "b")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "to_nowhere.png").symlink_to(tmp_path / "nowhere")
    expected = ["a.jpeg", "b/a/deep.png", "b/z.png", "b.PNG", "c.JpG", "to_nowhere.png"]
    assert list(images.find([tmp_path])) == [str(tmp_path / name) for name in expected]


def test_paths_stay_as_and_where_they_were_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, "b.png", "data/a.png", "data/b.png", "a.dat")
    given = ["b.png", "data", "missing.png", "a.dat", "b.png"]
    expected = ["b.png", "data/a.png", "data/b.png", "missing.png", "a.dat", "b.png"]
    assert list(images.find(given)) == expected


def test_folders_without_images_are_reported(tmp_path, monkeypatch):
    tree(tmp_path, "empty/notes.txt", "full/a.png", "full/locked/b.png")
    list_folder = os.scandir

    def refuse(path):
        if os.path.basename(path) == "locked":
            raise PermissionError(13, "Permission denied", path)
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert list(images.find([tmp_path / "empty", tmp_path / "full"])) == [
        images.Unreadable(
            str(tmp_path / "empty"), "no .png, .jpg, .jpeg, .webp, .bmp or .gif file in it"
        ),
        str(tmp_path / "full" / "a.png"),
        images.Unreadable(str(tmp_path / "full" / "locked"), "Permission denied"),
    ]


def test_a_folder_may_be_deeper_than_the_stack(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deep = "/".join(["d"] * 100)
    tree(pathlib.Path(), f"{deep}/a.png")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 60)
    try:
        found = list(images.find(["d"]))
    finally:
        sys.setrecursionlimit(limit)
    assert found == [f"{deep}/a.png"]
