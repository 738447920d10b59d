# SPDX-License-Identifier: Apache-2.0
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import data
from tests.data.numbered import CIFAR10_TEST, CIFAR10_TRAIN, image_numbers

AUGMENTATION = data.Augmentation(crop_padding=4, flip_probability=0.5)


def collect(batches):
    return [(images.numpy(), labels.numpy()) for images, labels in batches]


def numbers(batches):
    found = [image_numbers(images) for images, _ in batches]
    return np.concatenate(found) if found else np.array([], int)


def assert_equal_batches(first, second):
    assert len(first) == len(second)
    for (images, labels), (other_images, other_labels) in zip(first, second, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(labels, other_labels)


class TestInfo:
    def test_digits(self, digits):
        info = digits.info
        assert (info.name, info.image_shape, info.num_classes) == ("digits", (8, 8, 1), 10)
        assert info.class_names == tuple("0123456789")
        assert (info.num_train, info.num_validation, info.num_test) == (1293, 144, 360)

    def test_cifar10(self, cifar10):
        assert (cifar10.info.image_shape, cifar10.info.num_classes) == ((32, 32, 3), 10)
        assert cifar10.info.num_train + cifar10.info.num_validation == CIFAR10_TRAIN
        assert cifar10.info.num_test == CIFAR10_TEST

    def test_a_prepared_data_set_of_another_shape_is_refused(self, cifar10_dir, tmp_path):
        shutil.copytree(cifar10_dir / "cifar10", tmp_path / "svhn_cropped")
        (version,) = (tmp_path / "svhn_cropped").iterdir()
        features = version / "features.json"
        features.write_text(features.read_text().replace('"32"', '"16"', 1))
        with pytest.raises(ValueError, match=r"\(16, 32, 3\).*svhn_cropped has \(32, 32"):
            data.load("svhn_cropped", data_dir=tmp_path)


class TestParts:
    def test_train_validation_and_test_share_no_image_and_hold_all(self, cifar10):
        size = cifar10.info.num_train
        train = numbers(cifar10.train_batches(size, seed=0, num_steps=1))
        validation = numbers(cifar10.evaluation_batches("validation", 8))
        test = numbers(cifar10.evaluation_batches("test", 8))
        assert (validation.size, test.size) == (cifar10.info.num_validation, CIFAR10_TEST)
        assert sorted([*train, *validation]) == list(range(CIFAR10_TRAIN))
        assert sorted(test) == list(range(CIFAR10_TRAIN, CIFAR10_TRAIN + CIFAR10_TEST))

    @pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
    def test_the_fraction_is_the_validation_parts_share(self, cifar10_dir, fraction):
        info = data.load("cifar10", data_dir=cifar10_dir, validation_fraction=fraction).info
        assert info.num_validation == round(fraction * CIFAR10_TRAIN)

    def test_the_division_is_always_the_same(self, cifar10_dir, cifar10):
        again = data.load("cifar10", data_dir=cifar10_dir)
        np.testing.assert_array_equal(
            numbers(again.evaluation_batches("validation", 50)),
            numbers(cifar10.evaluation_batches("validation", 7)),
        )

    def test_training_does_without_the_test_split(self, cifar10_dir, tmp_path):
        shutil.copytree(cifar10_dir, tmp_path, dirs_exist_ok=True)
        for file in tmp_path.glob("cifar10/*/*-test.tfrecord*"):
            file.unlink()
        cifar10 = data.load("cifar10", data_dir=tmp_path)
        assert len(collect(cifar10.train_batches(16, seed=0, num_steps=20))) == 20
        assert len(collect(cifar10.evaluation_batches("validation", 16))) == 2
        with pytest.raises(OSError, match="split 'test' of cifar10.*damaged.*prepare"):
            cifar10.evaluation_batches("test", 16)

    def test_a_damaged_description_is_named(self, cifar10_dir, tmp_path):
        shutil.copytree(cifar10_dir, tmp_path, dirs_exist_ok=True)
        for file in tmp_path.glob("cifar10/*/dataset_info.json"):
            file.write_text("")
        with pytest.raises(OSError, match="description of data set 'cifar10' .*damaged.*prepare"):
            data.load("cifar10", data_dir=tmp_path)

    def test_damaged_files_are_named(self, cifar10_dir, tmp_path):
        shutil.copytree(cifar10_dir, tmp_path, dirs_exist_ok=True)
        (file,) = tmp_path.glob("cifar10/*/*-train.tfrecord*")
        file.write_bytes(file.read_bytes()[:100_000])
        cifar10 = data.load("cifar10", data_dir=tmp_path)
        with pytest.raises(OSError, match=f"split 'train' of cifar10.*of 203.*{file.parent}"):
            cifar10.train_batches(16, seed=0, num_steps=1)


class TestTrainBatches:
    def test_shapes_and_types(self, digits):
        batches = digits.train_batches(64, seed=0, num_steps=5, augmentation=AUGMENTATION)
        assert batches.element_spec == (
            tf.TensorSpec((64, 8, 8, 1), tf.uint8),
            tf.TensorSpec((64,), tf.int64),
        )
        assert batches.cardinality() == 5 == len(collect(batches))

    def test_images_keep_their_labels(self, cifar10):
        for images, labels in cifar10.train_batches(16, seed=0, num_steps=12):
            np.testing.assert_array_equal(labels, image_numbers(images) % 10)

    def test_steps_per_epoch_counts_full_batches(self, cifar10):
        size = cifar10.info.num_train
        assert [cifar10.steps_per_epoch(n) for n in (1, 16, size - 1, size)] == [
            size,
            size // 16,
            1,
            1,
        ]

    @pytest.mark.parametrize("batch_size", [16, 61, 183])
    def test_an_epoch_visits_no_image_twice_and_fills_every_batch(self, cifar10, batch_size):
        steps = cifar10.steps_per_epoch(batch_size)
        batches = collect(cifar10.train_batches(batch_size, seed=3, num_steps=3 * steps))
        for epoch in range(3):
            visited = numbers(batches[epoch * steps : (epoch + 1) * steps])
            assert np.unique(visited).size == visited.size == steps * batch_size

    def test_orders_of_epochs_and_seeds_are_unrelated(self, cifar10):
        """With TF's default rounds, neighbouring epochs are 4 times as alike as chance allows."""
        size, epochs = cifar10.info.num_train, 40
        orders = [
            numbers([batch])
            for seed in (0, 1)
            for batch in collect(cifar10.train_batches(size, seed=seed, num_steps=epochs))
        ]
        ascending = np.sort(orders[0])
        likeness = [
            np.abs([np.corrcoef(a, b)[0, 1] for a, b in pairs]).mean() * np.sqrt(size)
            for pairs in (
                itertools.pairwise(orders),
                zip(orders[:epochs], orders[epochs:], strict=True),
                ((order, ascending) for order in orders),
            )
        ]
        # sqrt(2 / pi) = 0.80 for random permutations.
        assert max(likeness) < 1.2

    @pytest.mark.parametrize("first_step", [1, 10, 11, 12, 25, 29, 30])
    def test_a_resumed_run_sees_what_an_uninterrupted_one_sees(self, cifar10, first_step):
        assert cifar10.steps_per_epoch(16) == 11
        arguments = {"seed": 5, "num_steps": 30, "augmentation": AUGMENTATION}
        whole = collect(cifar10.train_batches(16, **arguments))
        resumed = collect(cifar10.train_batches(16, first_step=first_step, **arguments))
        assert_equal_batches(whole[first_step:], resumed)

    def test_the_end_of_the_run_changes_no_batch(self, cifar10):
        short, long = (
            collect(cifar10.train_batches(16, seed=5, num_steps=n, augmentation=AUGMENTATION))
            for n in (12, 15)
        )
        assert_equal_batches(short, long[:12])

    def test_a_step_of_a_million_epochs_comes_at_once(self, cifar10):
        step = 11 * 10**6
        batches = cifar10.train_batches(16, seed=0, first_step=step, num_steps=step + 1)
        assert len(collect(batches)) == 1

    def test_seeds_differ(self, cifar10):
        for augmentation in (None, AUGMENTATION):
            one, other = (
                collect(
                    cifar10.train_batches(16, seed=seed, num_steps=1, augmentation=augmentation)
                )
                for seed in (0, 1)
            )
            assert (one[0][0] != other[0][0]).any()

    def test_augmentation_changes_the_images_and_not_their_choice(self, cifar10):
        arguments = {"batch_size": 16, "seed": 2, "num_steps": 13}
        plain = collect(cifar10.train_batches(**arguments))
        augmented = collect(cifar10.train_batches(**arguments, augmentation=AUGMENTATION))
        for step, (images, labels) in enumerate(plain):
            np.testing.assert_array_equal(augmented[step][0], AUGMENTATION(images, (2, step)))
            np.testing.assert_array_equal(augmented[step][1], labels)

    @pytest.mark.parametrize("count", [1, 2, 3, 12])
    def test_the_shards_make_up_the_global_batch(self, cifar10, count):
        arguments = {"seed": 4, "num_steps": 33, "first_step": 2, "augmentation": AUGMENTATION}
        whole = collect(cifar10.train_batches(12, **arguments))
        shards = [
            collect(cifar10.train_batches(12, shard=(index, count), **arguments))
            for index in range(count)
        ]
        joined = [
            tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))
            for batches in zip(*shards, strict=True)
        ]
        assert_equal_batches(whole, joined)


class TestEvaluationBatches:
    @pytest.mark.parametrize("split", ["validation", "test"])
    @pytest.mark.parametrize("batch_size", [1, 7, 16, 1000])
    def test_every_image_once_and_the_last_batch_kept(self, cifar10, split, batch_size):
        size = getattr(cifar10.info, f"num_{split}")
        batches = collect(cifar10.evaluation_batches(split, batch_size))
        sizes = [labels.size for _, labels in batches]
        assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
        assert sizes[-1] == (size - 1) % batch_size + 1
        visited = numbers(batches)
        assert np.unique(visited).size == visited.size == size
        np.testing.assert_array_equal(np.concatenate([b[1] for b in batches]), visited % 10)

    def test_shapes_and_types(self, digits):
        assert digits.evaluation_batches("test", 64).element_spec == (
            tf.TensorSpec((None, 8, 8, 1), tf.uint8),
            tf.TensorSpec((None,), tf.int64),
        )

    @pytest.mark.parametrize("batch_size", [4, 8, 36, 40, 100])
    @pytest.mark.parametrize("count", [2, 4])
    def test_the_shards_hold_every_image_once_in_slices(self, cifar10, batch_size, count):
        shards = [
            collect(cifar10.evaluation_batches("test", batch_size, shard=(index, count)))
            for index in range(count)
        ]
        visited = np.concatenate([numbers(shard) for shard in shards])
        assert sorted(visited) == sorted(numbers(cifar10.evaluation_batches("test", 50)))
        assert all(labels.size for shard in shards for _, labels in shard)
        whole = collect(cifar10.evaluation_batches("test", batch_size))
        for step, (_, labels) in enumerate(whole):
            parts = [shard[step][1] for shard in shards if step < len(shard)]
            np.testing.assert_array_equal(np.concatenate(parts), labels)


class TestErrors:
    @pytest.mark.parametrize("name", [n for n in data.names() if n != "digits"])
    def test_data_that_is_not_there(self, name, tmp_path):
        folder = tmp_path / "a b"
        with pytest.raises(data.DataNotFoundError) as error:
            data.load(name, data_dir=folder)
        assert isinstance(error.value, FileNotFoundError)
        assert f"python -m homoode_tf.data {name} --data_dir '{folder}'" in str(error.value)

    def test_the_command_for_the_default_folder_is_short(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path))
        with pytest.raises(data.DataNotFoundError, match=str(tmp_path)) as error:
            data.load("mnist")
        assert str(error.value).endswith("python -m homoode_tf.data mnist")

    def test_a_tilde_is_the_home_folder(self, cifar10_dir, monkeypatch):
        monkeypatch.setenv("HOME", str(cifar10_dir.parent))
        assert data.load("cifar10", data_dir=Path("~") / cifar10_dir.name).info.num_test

    @pytest.mark.parametrize("fraction", [0, 1, 1.0, -0.1, 1.5, float("nan")])
    def test_validation_fraction_out_of_range(self, digits_dir, fraction):
        with pytest.raises(ValueError, match="validation_fraction must be .* above 0 and below 1"):
            data.load("digits", data_dir=digits_dir, validation_fraction=fraction)

    @pytest.mark.parametrize("fraction", [1e-4, 0.9999])
    def test_validation_fraction_that_leaves_a_part_empty(self, digits_dir, fraction):
        with pytest.raises(ValueError, match=f"validation_fraction {fraction} of the 1437"):
            data.load("digits", data_dir=digits_dir, validation_fraction=fraction)

    @pytest.mark.parametrize(
        ("changed", "kind", "message"),
        [
            ({"batch_size": 1294}, ValueError, "batch_size 1294 .* train part of digits, 1293"),
            ({"batch_size": 0}, ValueError, "batch_size must be an integer at least 1.*, got 0"),
            ({"batch_size": 64.0}, TypeError, "batch_size must be an integer at least 1, got 64.0"),
            ({"first_step": 11}, ValueError, "first_step 11 is greater than num_steps 10"),
            ({"first_step": -1}, ValueError, "first_step must be an integer at least 0.*, got -1"),
            ({"num_steps": -1}, ValueError, "num_steps must be an integer at least 0.*, got -1"),
            (
                {"seed": -1},
                ValueError,
                "seed must be an integer at least 0, got -1",
            ),
            ({"seed": 2**31}, ValueError, "seed must be .* below 2147483648"),
            ({"seed": None}, TypeError, "seed must be an integer at least 0, got None"),
            (
                {"shard": (2, 2)},
                ValueError,
                "shard index must be .* at least 0 and below 2, got 2",
            ),
            ({"shard": (-1, 2)}, ValueError, "shard index must be .* below 2, got -1"),
            ({"shard": (0, 0)}, ValueError, "shard count must be an integer at least 1.*, got 0"),
            ({"shard": (0, 3)}, ValueError, "batch_size 64 is not divisible by the shard count 3"),
            ({"shard": 1}, ValueError, r"shard must be \(index, count\), got 1"),
        ],
    )
    def test_train_batches(self, digits, changed, kind, message):
        arguments = {"batch_size": 64, "seed": 0, "num_steps": 10} | changed
        with pytest.raises(kind, match=message):
            digits.train_batches(arguments.pop("batch_size"), **arguments)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("train", 64), "unknown split 'train'; known: validation, test"),
            (("test", 0), "batch_size must be an integer at least 1.*, got 0"),
            (("test", 64, (2, 2)), "shard index must be .* at least 0 and below 2, got 2"),
            (("test", 64, (0, 5)), "batch_size 64 is not divisible by the shard count 5"),
        ],
    )
    def test_evaluation_batches(self, digits, arguments, message):
        with pytest.raises(ValueError, match=message):
            digits.evaluation_batches(*arguments)
