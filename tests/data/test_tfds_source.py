# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from homoode_tf import data
from homoode_tf.data import __main__ as command
from homoode_tf.errors import InvalidValueError
from tests.data import pictures

features = tfds.features
NAMES = ["calm", "gale"]


SMALL = features.Image(shape=(8, 8, 3))
WIND = features.ClassLabel(names=NAMES)


class OwnWinds(tfds.core.GeneratorBasedBuilder):
    """Images of several sizes under keys of their own."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        image = features.Image(shape=(None, None, 3))
        return self.info_of({"photo": image, "wind": WIND})

    def info_of(self, given, keys=None):
        given = features.FeaturesDict(given)
        return tfds.core.DatasetInfo(builder=self, features=given, supervised_keys=keys)

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(n) for split, n in (("train", 90), ("test", 20))}

    def _generate_examples(self, number):
        for k in range(number):
            yield k, {"photo": np.full((8 + k % 3, 10, 3), k, np.uint8), "wind": k % 2}


class OwnPairs(OwnWinds):
    """Two images: which of them is meant?"""

    def _info(self):
        return self.info_of({"photo": SMALL, "wind": WIND, "other": SMALL})

    def _generate_examples(self, number):
        image = np.zeros((8, 8, 3), np.uint8)
        for k in range(number):
            yield k, {"photo": image, "wind": 0, "other": image}


class OwnMasks(OwnWinds):
    """No label at all."""

    def _info(self):
        return self.info_of({"photo": SMALL, "mask": SMALL}, ("photo", "mask"))

    def _generate_examples(self, number):
        image = np.zeros((8, 8, 3), np.uint8)
        for k in range(number):
            yield k, {"photo": image, "mask": image}


class OwnTest(OwnWinds):
    """Nothing to train on."""

    def _split_generators(self, dl_manager):
        return {"test": self._generate_examples(20)}


def prepare(kind, folder, num_shards=3):
    config = tfds.download.DownloadConfig(num_shards=num_shards)
    kind(data_dir=folder).download_and_prepare(download_config=config)


@pytest.fixture(scope="module")
def winds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("winds")
    prepare(OwnWinds, folder)
    return folder


def collect(images, batches):
    return [(images.numpy(), labels.numpy()) for images, labels in batches(images)]


@pytest.mark.parametrize(
    "batches",
    [
        lambda images: images.train_batches(9, seed=0, num_steps=12),
        lambda images: images.evaluation_batches("test", 6),
    ],
)
def test_its_own_keys_and_sizes_kept_or_streamed(winds, batches):
    given = {"data_dir": winds, "image_size": (8, 8)}
    kept, streamed = (
        data.load("tfds:own_winds", cache_megabytes=limit, **given) for limit in (1, 0)
    )
    assert kept.info == streamed.info and kept.info.class_names == tuple(NAMES)
    assert (kept.info.num_train, kept.info.num_validation, kept.info.num_test) == (81, 9, 20)
    first, second = collect(kept, batches), collect(streamed, batches)
    assert len(first) == len(second) >= 4
    for (images, labels), (others, same) in zip(first, second, strict=True):
        np.testing.assert_array_equal(images, others)
        np.testing.assert_array_equal(labels, same)
        np.testing.assert_array_equal(images[:, 0, 0, 0] % 2, labels)


def test_a_damaged_file_is_said_when_it_streams(winds, tmp_path):
    prepare(OwnWinds, tmp_path)
    file = max(tmp_path.rglob("*train.tfrecord*"))
    file.write_bytes(file.read_bytes()[:-50])
    given = {"image_size": (8, 8), "cache_megabytes": 0}
    with pytest.raises(OSError, match=f"{file.name} is cut off"):
        data.load("tfds:own_winds", data_dir=tmp_path, **given)


def test_the_command_fetches_any_data_set_of_tfds(tmp_path, capsys):
    assert command.main(["tfds:own_winds", "--data_dir", str(tmp_path)]) == 0
    assert "own_winds/1.0.0: images of ?x?x3, train 90, test 20" in capsys.readouterr().out
    assert command.main(["tfds:own_masks", "--data_dir", str(tmp_path)]) == 1
    assert "own_masks of TFDS is no image classification" in capsys.readouterr().err
    assert not (tmp_path / "own_masks").exists()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (OwnPairs, "own_pairs of TFDS is no image classification: expected one image and one"),
        (OwnMasks, "own_masks of TFDS is no image classification.*found mask, photo"),
        (OwnTest, "tfds:own_test has no split 'train', only 'test'"),
        (OwnWinds, r"images of tfds:own_winds have several sizes: set config.image_size="),
    ],
)
def test_what_is_no_image_classification(tmp_path, kind, message):
    prepare(kind, tmp_path, num_shards=1)
    with pytest.raises(ValueError, match=message) as error:
        data.load(f"tfds:{kind.name}", data_dir=tmp_path)
    assert "\n" not in str(error.value)


def test_what_is_not_there(tmp_path):
    command_line = r"python -m homoode_tf\.data tfds:own_winds --data_dir"
    with pytest.raises(data.DataNotFoundError, match=command_line):
        data.load("tfds:own_winds", data_dir=tmp_path)
    with pytest.raises(ValueError, match="TFDS knows no data set 'no_such_set'"):
        data.prepare("tfds:no_such_set", tmp_path)


@pytest.mark.parametrize("name", ["../../x", "", "mnist/x y", "mnist:", "/etc", "a:b:c"])
@pytest.mark.parametrize("door", [data.load, lambda name, data_dir: data.prepare(name, data_dir)])
def test_what_can_be_no_name_is_refused_in_a_short_line(tmp_path, name, door):
    with pytest.raises(InvalidValueError, match="is no name of a data set: expected tfds:NAME"):
        door(f"tfds:{name}", data_dir=tmp_path)


def test_a_name_that_is_mistyped_is_not_to_be_fetched(tmp_path):
    with pytest.raises(InvalidValueError, match=r"'mnits'\. Did you mean tfds:mnist\?"):
        data.load("tfds:mnits", data_dir=tmp_path)
    with pytest.raises(data.DataNotFoundError, match="tfds:mnist:3.0.1"):
        data.load("tfds:mnist:3.0.1", data_dir=tmp_path)


@pytest.mark.parametrize("error", [tf.errors.AbortedError(None, None, "no network"), KeyError("s")])
def test_an_address_that_cannot_be_reached_is_not_called_damage(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(tfds.core.read_only_builder, "builder_from_files", fail)
    with pytest.raises(
        OSError, match="cannot be read from data_dir 'gs://b/d': see that"
    ) as caught:
        data.load("tfds:mnist", data_dir="gs://b/d")
    assert "delete" not in str(caught.value)


def test_nothing_is_written_among_a_users_images(tmp_path):
    folder = pictures.write(tmp_path / "trees", count=8)
    before = pictures.listing(folder)
    for name in ("digits", "cifar10", "tfds:own_winds"):
        for door in (data.load, data.prepare):
            with pytest.raises(ValueError, match="holds no TFDS data sets.*dataset=folder:"):
                door(name, data_dir=folder) if door is data.load else door(name, folder)
    assert pictures.listing(folder) == before
