# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from homoode_tf import data
from homoode_tf.data import storage

AUGMENTATION = data.Augmentation(crop_padding=1)


@pytest.fixture(scope="module")
def arrays(digits_dir):
    builder = storage.open_prepared("digits", digits_dir)
    found = {}
    for split in ("train", "test"):
        found[f"x_{split}"], found[f"y_{split}"] = storage.read_split(builder, split)
    return found


@pytest.fixture(scope="module")
def npz(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("npz") / "digits.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def folder(arrays, tmp_path_factory):
    root = tmp_path_factory.mktemp("folder")
    for split in ("train", "test"):
        for number, image in enumerate(arrays[f"x_{split}"]):
            path = root / split / str(arrays[f"y_{split}"][number]) / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(path)
    return root


def datasets(arrays):
    return {
        split: tf.data.Dataset.from_tensor_slices((arrays[f"x_{split}"], arrays[f"y_{split}"]))
        for split in ("train", "test")
    }


def collect(images):
    given = {"seed": 2, "num_steps": 45, "augmentation": AUGMENTATION}
    batches = [*images.train_batches(64, **given), *images.evaluation_batches("test", 100)]
    return [(images.numpy(), labels.numpy()) for images, labels in batches]


WAYS = {
    "npz": lambda npz, arrays, folder: data.load(f"npz:{npz}"),
    "npz, streamed": lambda npz, arrays, folder: data.load(f"npz:{npz}", cache_megabytes=0),
    "tfds": lambda npz, arrays, folder: data.load("tfds:digits", data_dir=folder),
    "tfds, streamed": lambda npz, arrays, folder: data.load(
        "tfds:digits", data_dir=folder, cache_megabytes=0
    ),
    "datasets": lambda npz, arrays, folder: data.from_datasets("digits", **datasets(arrays)),
}


@pytest.mark.parametrize("way", [*WAYS, "folder", "folder, streamed"])
def test_the_same_images_given_otherwise_make_the_same_run(
    npz, arrays, folder, digits_dir, digits, way
):
    images = (
        data.load(f"folder:{folder}", cache_megabytes=0 if "streamed" in way else 2000)
        if "folder" in way
        else WAYS[way](npz, arrays, digits_dir)
    )
    left_out = {"name": "digits", "fingerprint": digits.info.fingerprint}
    assert dataclasses.replace(images.info, **left_out) == digits.info
    for one, other in zip(collect(images), collect(digits), strict=True):
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_optional_arrays_and_resizing(arrays, tmp_path):
    names = [f"digit {k}" for k in range(10)]
    x, y = arrays["x_train"][..., 0], arrays["y_train"][:, np.newaxis]
    parts = {"x_validation": x[:50], "y_validation": y[:50], "class_names": names}
    np.savez_compressed(tmp_path / "own.npz", x_train=x[50:], y_train=y[50:], **parts)
    images = data.load(f"npz:{tmp_path / 'own.npz'}", image_size=(16, 12))
    info = images.info
    assert info.image_shape == (16, 12, 1) and info.class_names == tuple(names)
    assert (info.num_validation, info.num_test) == (50, 139)
    ((found, labels),) = images.evaluation_batches("validation", 50)
    np.testing.assert_array_equal(
        found, data.resize_and_crop(x[:50, :, :, np.newaxis], (16, 12), 1)
    )
    np.testing.assert_array_equal(labels, y[:50, 0])
    with pytest.raises(ValueError, match="cannot be read one by one: raise the limit, or save"):
        data.load(f"npz:{tmp_path / 'own.npz'}", cache_megabytes=0)


def test_a_file_that_was_changed_is_noticed_when_a_run_goes_on(arrays, npz, tmp_path):
    known = data.load(f"npz:{npz}").info
    changed = arrays | {"y_test": arrays["y_test"][::-1]}
    np.savez(tmp_path / "digits.npz", **changed)
    assert data.load(f"npz:{npz}", known=known).info.mean == known.mean
    with pytest.raises(ValueError, match="is not what it was when this run began"):
        data.load(f"npz:{tmp_path / 'digits.npz'}", known=known)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y_train": None}, r"lacks y_train; its arrays must be x_train, y_train.*found x_test"),
        ({"x_test": None}, "lacks x_test"),
        ({"y_train": np.zeros(5, np.int64)}, "y_train of .* has 5 labels for 20 images"),
        (
            {"y_train": np.zeros(20)},
            "y_train of .* must be integers of shape .*, got float64|; got",
        ),
        ({"y_train": np.array(["a"] * 20)}, "y_train of .* must be integers"),
        ({"y_train": np.eye(20, 4)}, r"y_train of .* must be integers.*of shape \(20, 4\)"),
        ({"y_train": np.full(20, -1)}, "y_train of .* must be classes 0, 1, ..., got -1"),
        ({"y_train": np.zeros(20, int), "y_test": np.zeros(8, int)}, "two classes, found only '0'"),
        ({"x_train": np.zeros((20, 8, 8))}, "x_train of .* must be uint8 .*, got float64"),
        ({"x_train": np.zeros((20, 64), np.uint8)}, r"must be uint8 .* of shape \(20, 64\)"),
        ({"x_train": np.zeros((20, 8, 8, 7), np.uint8)}, "several shapes"),
        ({"x_train": np.zeros((20, 8, 9), np.uint8)}, "several shapes"),
        ({"x_train": np.array([object()] * 20)}, "x_train of .* must be uint8.*got object"),
        ({"class_names": ["a"]}, "has 1 class_names, but labels to 1"),
        ({"class_names": ["a", "a"]}, "class_names of .* must differ .*got 'a' twice"),
        ({"class_names": ["a", " "]}, "class_names of .* must be readable texts, got ' '"),
        ({"class_names": ["a", "b\nc"]}, "class_names of .* must be readable texts"),
        ({"class_names": "ab"}, r"class_names of .* must be texts of shape \(n,\), got <U2 of"),
        ({"class_names": [["a", "b"]] * 2}, r"class_names of .* of shape \(2, 2\)"),
        ({"class_names": [0.5, 1.5]}, "class_names of .* must be texts"),
        ({"class_names": [b"\xff", b"a"]}, "class_names of .* must be texts"),
        ({"class_names": np.array(["a", None])}, "class_names: Object arrays"),
        ({"y_train": np.arange(20) + 2_000_000}, "y_train of .* and no ids, got 2000019"),
        ({"y_train": np.full(20, 2**63, np.uint64)}, "y_train of .* and no ids"),
        ({"y_test": np.full(8, 20231)}, "labels to 20231, but 20 images to train on"),
        (
            {"x_train": np.zeros((0, 8, 8), np.uint8), "y_train": np.arange(0)},
            "the train split of .* holds no images",
        ),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path, changed, message):
    arrays = {}
    for split, number in (("train", 20), ("test", 8)):
        arrays[f"x_{split}"] = np.zeros((number, 8, 8), np.uint8)
        arrays[f"y_{split}"] = np.arange(number) % 2
    arrays |= changed
    np.savez(tmp_path / "own.npz", **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(ValueError, match=message) as error:
        data.load(f"npz:{tmp_path / 'own.npz'}")
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["own.npz"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([b"a", "ä".encode()], ("a", "ä")),
        ([["a"], ["b"]], ("a", "b")),
        ([7, 8], ("7", "8")),
        ([], ("0", "1")),
    ],
)
def test_class_names_are_texts_however_they_are_kept(tmp_path, names, expected):
    np.savez(tmp_path / "own.npz", x_train=X, y_train=Y, class_names=np.array(names))
    assert data.load(f"npz:{tmp_path / 'own.npz'}").info.class_names == expected


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_without_an_image_is_none(tmp_path, split):
    empty = {f"x_{split}": X[:0], f"y_{split}": Y[:0]}
    for name, more in (("with", empty), ("without", {})):
        np.savez(tmp_path / f"{name}.npz", x_train=X, y_train=Y, **more)
    one, other = (data.load(f"npz:{tmp_path / name}.npz") for name in ("with", "without"))
    assert (one.info.num_test, one.info.num_validation) == (2, 2)
    for (mine, _), (theirs, _) in zip(
        one.evaluation_batches(split, 9), other.evaluation_batches(split, 9), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off", None])
def test_files_that_are_no_arrays(tmp_path, content):
    path = tmp_path / "own.npz"
    if content is not None:
        path.write_bytes(content)
    message = "no file of np.savez" if content is not None else "there is no such file"
    with pytest.raises(ValueError, match=message) as error:
        data.load(f"npz:{path}")
    assert "\n" not in str(error.value)


def slices(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays)


X, Y = np.zeros((20, 8, 8, 1), np.uint8), np.arange(20) % 2


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (slices(X, Y).batch(4), r"of \(image, label\).*`\.unbatch\(\)` first"),
        (slices(X / 255.0, Y), "image uint8"),
        (slices(X), r"of \(image, label\)"),
        (slices(X, Y * 1.0), "label an integer"),
        ([1, 2], "must be a tf.data.Dataset"),
        (slices(X, Y).take(0), "is empty"),
        (slices(X, Y).repeat(), "more than 1 MB, or no end"),
        (slices(X, 0 * Y), "at least two classes, found only '0'"),
    ],
)
def test_datasets_that_cannot_be_used(dataset, message):
    with pytest.raises(ValueError, match=message):
        data.from_datasets("own", dataset, cache_megabytes=1)


def test_datasets_with_images_of_several_sizes():
    images = [np.full((8 + k % 3, 10, 3), k, np.uint8) for k in range(30)]
    signature = (tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.int32))
    dataset = tf.data.Dataset.from_generator(
        lambda: ((image, k % 2) for k, image in enumerate(images)), output_signature=signature
    )
    with pytest.raises(ValueError, match="several sizes: set config.image_size"):
        data.from_datasets("own", dataset)
    own = data.from_datasets("own", dataset, image_size=(12, 12), class_names=("even", "odd"))
    assert own.info.image_shape == (12, 12, 3) and own.info.class_names == ("even", "odd")
    for batch, labels in own.train_batches(8, seed=0, num_steps=2):
        np.testing.assert_array_equal(batch[:, 0, 0, 0] % 2, labels)
