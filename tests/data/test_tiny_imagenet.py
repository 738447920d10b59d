# SPDX-License-Identifier: Apache-2.0
import io
import shutil

import numpy as np
import pytest
from PIL import Image

from homoode_tf import data
from homoode_tf.data import storage

CLASSES = [f"n{10_000_000 + 37 * index:08d}" for index in range(200)]
GREY = 7  # the class whose images have one channel, as some of the real ones have


def jpeg(label):
    """A JPEG file of one colour that tells the class, also after compression."""
    if label == GREY:
        image = Image.new("L", (64, 64), 90)
    else:
        image = Image.new("RGB", (64, 64), (25 * (label % 10), 12 * (label // 10), 250))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


def class_of(image):
    if np.ptp(image) == 0:
        return GREY
    red, green, _ = image.astype(float).mean(axis=(0, 1))
    return round(red / 25) + 10 * round(green / 12)


@pytest.fixture(scope="module")
def download(tmp_path_factory):
    """The unpacked folder in small: every class, one training and one validation image each."""
    root = tmp_path_factory.mktemp("download") / "tiny-imagenet-200"
    (root / "val" / "images").mkdir(parents=True)
    (root / "test" / "images").mkdir(parents=True)
    (root / "test" / "images" / "test_0.JPEG").write_bytes(jpeg(0))
    # The real list is in no alphabetical order either.
    (root / "wnids.txt").write_text("\n".join(reversed(CLASSES)))
    annotations = []
    for label, name in enumerate(CLASSES):
        folder = root / "train" / name
        (folder / "images").mkdir(parents=True)
        (folder / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t63\t63\n")
        (folder / "images" / f"{name}_0.JPEG").write_bytes(jpeg(label))
        (root / "val" / "images" / f"val_{label}.JPEG").write_bytes(jpeg(label))
        annotations.append(f"val_{label}.JPEG\t{name}\t0\t0\t63\t63\n")
    (root / "val" / "val_annotations.txt").write_text("".join(annotations))
    return root


@pytest.fixture
def manual_dir(tmp_path):
    folder = tmp_path / "downloads" / "manual"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_download_becomes_a_data_set(download, manual_dir, tmp_path, packed):
    if packed:
        shutil.make_archive(
            manual_dir / "tiny-imagenet-200", "zip", download.parent, "tiny-imagenet-200"
        )
    else:
        shutil.copytree(download, manual_dir / "tiny-imagenet-200")
    builder = data.prepare("tiny_imagenet", tmp_path)
    for split in ("train", "test"):
        images, labels = storage.read_split(builder, split)
        assert images.shape == (200, 64, 64, 3)
        assert sorted(labels) == list(range(200))
        assert [class_of(image) for image in images] == labels.tolist()

    info = data.load("tiny_imagenet", data_dir=tmp_path, validation_fraction=0.25).info
    assert info.class_names == tuple(CLASSES)
    assert (info.num_train, info.num_validation, info.num_test) == (150, 50, 200)


def test_without_preparation_the_error_says_what_to_do(tmp_path):
    with pytest.raises(data.DataNotFoundError) as error:
        data.load("tiny_imagenet", data_dir=tmp_path)
    assert f"python -m homoode_tf.data tiny_imagenet --data_dir {tmp_path}" in str(error.value)
    assert f"tiny-imagenet-200.zip into '{tmp_path}/downloads/manual'" in str(error.value)


def test_without_a_download_the_error_says_what_to_put_where(manual_dir, tmp_path):
    manual_dir.rmdir()
    with pytest.raises(FileNotFoundError, match=r"Download tiny-imagenet-200\.zip") as error:
        data.prepare("tiny_imagenet", tmp_path)
    assert str(manual_dir) in str(error.value)
    manual_dir.mkdir()
    (manual_dir / "something_else").touch()
    with pytest.raises(FileNotFoundError, match=r"Download tiny-imagenet-200\.zip") as error:
        data.prepare("tiny_imagenet", tmp_path)
    assert str(manual_dir) in str(error.value)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (f"train/{CLASSES[3]}/images/{CLASSES[3]}_0.JPEG", f"{CLASSES[3]}/images holds 0 images"),
        ("val/images/val_5.JPEG", "1 of the 200 images .* the first val/images/val_5.JPEG"),
    ],
)
def test_a_copy_that_is_not_complete_is_refused(download, manual_dir, tmp_path, missing, message):
    copy = shutil.copytree(download, manual_dir / "tiny-imagenet-200")
    (copy / missing).unlink()
    with pytest.raises(ValueError, match=f"incomplete: .*{message}"):
        data.prepare("tiny_imagenet", tmp_path)
    assert not list((tmp_path / "tiny_imagenet").iterdir())


def test_classes_of_unequal_size_are_refused(download, manual_dir, tmp_path):
    """As when unpacking was broken off within a class."""
    copy = shutil.copytree(download, manual_dir / "tiny-imagenet-200")
    (copy / f"train/{CLASSES[0]}/images/{CLASSES[0]}_1.JPEG").write_bytes(jpeg(0))
    with pytest.raises(ValueError, match="incomplete: .*holds 1 images, another class 2"):
        data.prepare("tiny_imagenet", tmp_path)


def test_a_list_of_other_than_200_classes_is_refused(download, manual_dir, tmp_path):
    copy = shutil.copytree(download, manual_dir / "tiny-imagenet-200")
    (copy / "wnids.txt").write_text("\n".join(CLASSES[:-1]))
    with pytest.raises(ValueError, match=r"wnids\.txt names 199 classes, not 200"):
        data.prepare("tiny_imagenet", tmp_path)


def test_a_truncated_zip_is_refused(manual_dir, tmp_path):
    (manual_dir / "tiny-imagenet-200.zip").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(ValueError, match="no complete zip file; download it again"):
        data.prepare("tiny_imagenet", tmp_path)
