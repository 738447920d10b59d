# SPDX-License-Identifier: Apache-2.0
import pathlib
import shutil

import numpy as np
import pytest
from absl import logging
from PIL import Image

from homoode_tf import data
from tests.data import pictures
from tests.data.pictures import CLASSES, DAMAGED, EMPTY, number_of

SIZE = {"image_size": (24, 32)}
AUGMENTATION = data.Augmentation(2, 0.5, cutout=0.2)


@pytest.fixture
def warnings(monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    return said


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return pictures.write(tmp_path_factory.mktemp("pictures") / "trees")


@pytest.fixture(scope="module")
def kept(folder):
    return data.load(f"folder:{folder}", **SIZE)


@pytest.fixture(scope="module")
def streamed(folder):
    return data.load(f"folder:{folder}", cache_megabytes=0, **SIZE)


def collect(batches):
    return [(images.numpy(), labels.numpy()) for images, labels in batches]


def numbers(batches):
    return [number_of(image) for images, _ in batches for image in images]


def assert_equal_batches(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_what_is_found(folder, warnings):
    before = pictures.listing(folder)
    info = data.load(f"folder:{folder}", **SIZE).info
    assert info.class_names == CLASSES and info.image_shape == (24, 32, 3)
    assert (info.num_train, info.num_validation, info.num_test) == (47, 6, 6)
    assert info.left_out == (DAMAGED,)
    text = "\n".join(warnings)
    assert f"damaged: {DAMAGED} (" in text
    assert f"class '{EMPTY}' holds no images" in text and "1 files that are no images" in text
    assert pictures.listing(folder) == before


def test_every_sound_image_is_in_one_part_with_its_class(kept):
    parts = [
        collect(kept.train_batches(47, seed=0, num_steps=1)),
        collect(kept.evaluation_batches("validation", 4)),
        collect(kept.evaluation_batches("test", 4)),
    ]
    assert sorted([number for part in parts for number in numbers(part)]) == [
        k for k in range(60) if k != 4
    ]
    for images, labels in (batch for part in parts for batch in part):
        assert [number_of(image) % 4 for image in images] == labels.tolist()


def test_the_statistics_are_those_of_the_images_that_are_not_for_the_test(kept):
    own = [3 * k for part in ("train", "validation") for k in numbers_of_part(kept, part)]
    assert kept.info.mean == pytest.approx([np.mean(own) / 255] * 3, abs=1e-4)
    assert kept.info.std == pytest.approx([np.std(own) / 255] * 3, abs=1e-4)


def numbers_of_part(images, part):
    if part == "train":
        return numbers(images.train_batches(images.info.num_train, seed=0, num_steps=1))
    return numbers(images.evaluation_batches(part, 8))


@pytest.mark.parametrize("augmentation", [None, AUGMENTATION])
def test_what_streams_gives_the_batches_of_what_is_kept(kept, streamed, augmentation):
    given = {"seed": 3, "num_steps": 8, "first_step": 2, "augmentation": augmentation}
    first, second = (collect(images.train_batches(16, **given)) for images in (kept, streamed))
    assert_equal_batches(first, second)
    assert_equal_batches(
        collect(kept.evaluation_batches("test", 4)), collect(streamed.evaluation_batches("test", 4))
    )
    assert streamed.train_batches(16, seed=0, num_steps=7).cardinality() == 7
    whole = collect(streamed.train_batches(16, seed=3, num_steps=8, augmentation=augmentation))
    assert_equal_batches(whole[2:], second)


def test_two_workers_read_disjoint_shards_of_a_batch(streamed, folder, tmp_path):
    given = {"seed": 1, "num_steps": 2}
    shards = [collect(streamed.train_batches(16, shard=(k, 2), **given)) for k in (0, 1)]
    mine, theirs = map(numbers, shards)
    assert not {*mine} & {*theirs} and len({*mine, *theirs}) == 32
    assert (
        numbers(streamed.train_batches(16, **given))
        == mine[:8] + theirs[:8] + mine[8:] + theirs[8:]
    )
    # A worker does without the files of the other.
    copy = shutil.copytree(folder, tmp_path / folder.name)
    images = data.load(f"folder:{copy}", cache_megabytes=0, **SIZE)
    for number in theirs:
        (copy / CLASSES[number % 4] / f"{number:03d}.png").unlink()
    assert numbers(images.train_batches(16, shard=(0, 2), **given)) == mine


def test_a_run_that_goes_on_measures_nothing_and_notices_changes(
    folder, kept, tmp_path, monkeypatch
):
    known = kept.info
    monkeypatch.delattr("homoode_tf.data.folder.sums")
    assert data.load(f"folder:{folder}", known=known, **SIZE).info == kept.info
    copy = shutil.copytree(folder, tmp_path / folder.name)
    (copy / CLASSES[0] / "000.png").unlink()
    with pytest.raises(ValueError, match="is not what it was when this run began"):
        data.load(f"folder:{copy}", known=known, **SIZE)


def test_splits_of_ones_own(folder, tmp_path, warnings):
    for split in ("train", "val", "test"):
        shutil.copytree(folder / CLASSES[0], tmp_path / split / "a")
        shutil.copytree(folder / CLASSES[1], tmp_path / split / "b")
    (tmp_path / "raw").mkdir()
    info = data.load(f"folder:{tmp_path}", **SIZE).info
    assert (info.num_train, info.num_validation, info.num_test) == (29, 29, 29)
    assert info.class_names == ("a", "b") and "folder 'raw' is no split" in "\n".join(warnings)
    shutil.copytree(folder / CLASSES[2], tmp_path / "test" / "c")
    with pytest.raises(ValueError, match="class 'c' is in test but not in train"):
        data.load(f"folder:{tmp_path}", **SIZE)


def test_all_formats_upright_and_of_one_size_as_they_are(tmp_path):
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :, 0], pixels[:, 12:, 1] = 250, 200
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        image = Image.fromarray(pixels)
        for suffix in ("png", "bmp", "jpg", "webp"):
            options = {"webp": {"lossless": True}, "jpg": {"quality": 95}}.get(suffix, {})
            image.save(tmp_path / label / f"0.{suffix}", **options)
        image.convert("RGBA").save(tmp_path / label / "1.png")
        image.convert("RGBA").save(tmp_path / label / "1.bmp")
        (tmp_path / label / "2.JPEG").write_bytes(pictures.turned_jpeg(pixels))
    images = data.load(f"folder:{tmp_path}")
    assert images.info.image_shape == (16, 24, 3) and not images.info.left_out
    total = images.info.num_train
    ((found, _),) = collect(images.train_batches(total, seed=0, num_steps=1))
    for image in found:
        assert np.abs(image.astype(int) - pixels)[2:6, 2:10].max() < 40
        assert np.abs(image.astype(int) - pixels)[10:14, 14:22].max() < 40


def test_grey_images_have_one_channel(tmp_path):
    for number in range(24):
        path = tmp_path / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8), 10 * number).save(path)
    info = data.load(f"folder:{tmp_path}").info
    assert info.image_shape == (8, 8, 1) and len(info.mean) == 1


def spoil(folder, tmp_path, how):
    """Makes a folder that cannot be trained on."""
    if how == "absent":
        return tmp_path / "nowhere"
    if how == "images without classes":
        shutil.copytree(folder / CLASSES[0], tmp_path / "own")
        return tmp_path / "own"
    shutil.copytree(folder, tmp_path / "own")
    for name in (*CLASSES, EMPTY):
        if how == "no image" or (how == "one class" and name != CLASSES[0]):
            shutil.rmtree(tmp_path / "own" / name)
        if how == "all damaged":
            for file in (tmp_path / "own" / name).iterdir():
                file.write_bytes(b"not an image")
        if how == "no text":
            (tmp_path / "own" / name).rename(tmp_path / "own" / f"{name}\n")
    return tmp_path / "own"


@pytest.mark.parametrize(
    ("how", "fields", "message"),
    [
        ("absent", SIZE, "there is no such folder"),
        ("no image", SIZE, r"holds no images: expected .*/CLASS/\*\.png"),
        ("images without classes", SIZE, r"holds no images: expected .*/CLASS/\*\.png"),
        ("one class", SIZE, "at least two classes, found only 'ash'"),
        ("all damaged", SIZE, r"no sound image: ash/000\.png \(no PNG, JPEG"),
        ("no text", SIZE, "its name is no text; rename it"),
        ("none", {}, r"have several sizes: set config.image_size=\(HEIGHT, WIDTH\)"),
        ("none", {"image_size": (4, 8)}, "image_size's height and width must be .* at least 8"),
        ("none", {"image_size": (8, 513)}, "height and width must be .* at most 512"),
        ("none", {"image_size": (8,)}, r"image_size must be \(\), or \(height, width\)"),
        ("none", {"test_fraction": 0.001, **SIZE}, "test_fraction 0.001 of the 59 images"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(folder, tmp_path, how, fields, message):
    own = spoil(folder, tmp_path, how)
    before = pictures.listing(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        data.load(f"folder:{own}", **fields)
    assert "\n" not in str(error.value)
    assert pictures.listing(tmp_path) == before


def test_large_images_want_a_size(tmp_path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        Image.new("RGB", (600, 20)).save(tmp_path / label / "0.png")
    with pytest.raises(ValueError, match=r"are of 20x600 pixels: set config.image_size"):
        data.load(f"folder:{tmp_path}")


def test_a_jpeg_that_is_cut_off_is_left_out_by_its_name(tmp_path):
    content = pictures.turned_jpeg(np.full((16, 24, 3), 90, np.uint8))
    for number in range(16):
        path = tmp_path / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if number != 3 else content[: -len(content) // 20])
    info = data.load(f"folder:{tmp_path}").info
    assert info.left_out == ("b/3.jpg",) and info.num_train > 8


@pytest.mark.parametrize("root", ["", "train"])
@pytest.mark.parametrize("to", ["itself", "nothing"])
def test_links_that_lead_nowhere_are_left_out_and_named(tmp_path, warnings, root, to):
    folder = pictures.write(tmp_path / "trees" / root, count=16)
    for link in ("loop", "ash/loop.png", "ash/loop"):
        (folder / link).symlink_to("nowhere" if to == "nothing" else link.split("/")[-1])
    info = data.load(f"folder:{tmp_path / 'trees'}", test_fraction=0.2, **SIZE).info
    assert info.class_names == CLASSES
    assert info.num_train + info.num_validation + info.num_test == 15
    named = str(pathlib.PurePath(root, "ash/loop.png"))
    assert set(info.left_out) == {named, str(pathlib.PurePath(root, DAMAGED))}
    text = "\n".join(warnings)
    assert f"{named} (" in text
    assert f"link {str(pathlib.PurePath(root, 'loop'))!r} leads nowhere" in text
