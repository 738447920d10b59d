# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

import homoode_tf
from homoode_tf.serving.predict import ModelError, PredictionError, Predictions, ServedModel
from tests.serving.predict.conftest import NAMES, random_images, save_module

SPEC = tf.TensorSpec((None, 4, 4, 1), tf.uint8, name="images")


def test_says_what_the_model_says(homoode):
    directory, logits = homoode
    model = ServedModel(directory)
    assert model.image_shape == (8, 8, 1) and model.num_classes == 10
    assert model.class_names == tuple(f"class {number}" for number in range(10))
    predictions = model.predict(random_images(40))
    np.testing.assert_allclose(predictions.logits, logits, atol=1e-3)
    np.testing.assert_allclose(predictions.probabilities, tf.nn.softmax(logits), atol=1e-4)
    np.testing.assert_array_equal(predictions.classes, logits.argmax(axis=-1))
    assert predictions.classes.dtype == np.int64
    assert predictions.probabilities.dtype == predictions.logits.dtype == np.float32


@pytest.mark.slow
def test_many_threads_get_the_answers_of_one(homoode):
    model, images = ServedModel(homoode[0]), random_images(40)
    alone = [model.predict(image[None]).logits for image in images]

    def ask(thread):
        order = np.random.default_rng(thread).integers(0, len(images), 100)
        return [
            np.abs(model.predict(images[number][None]).logits - alone[number]).max()
            for number in order
        ]

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        differences = np.array(list(threads.map(ask, range(8))))
    assert differences.shape == (8, 100)
    assert differences.max() <= 1e-6


@pytest.mark.slow
def test_needs_no_model_code(homoode, tmp_path):
    np.save(tmp_path / "images.npy", random_images(5))
    script = textwrap.dedent(f"""
        import sys, types
        # The package's folder, without what its __init__.py imports.
        package = sys.modules["homoode_tf"] = types.ModuleType("homoode_tf")
        package.__path__ = {list(homoode_tf.__path__)!r}
        for name in ("keras", "tensorflow_probability", "homoode_tf.layers", "homoode_tf.models"):
            sys.modules[name] = None  # importing it is now an ImportError
        from homoode_tf.serving.predict import ServedModel
        assert "tensorflow" not in sys.modules  # before a model is loaded
        import numpy as np
        model = ServedModel({str(homoode[0])!r})
        logits = model.predict(np.load({str(tmp_path / "images.npy")!r})).logits
        np.save({str(tmp_path / "logits.npy")!r}, logits)
    """)
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), homoode[1][:5], atol=1e-3)


def test_names_are_optional(brightness, nameless):
    assert ServedModel(brightness).class_names == tuple(NAMES)
    model = ServedModel(nameless)
    assert model.class_names is None
    assert (model.image_shape, model.num_classes) == ((6, 8, 3), 3)


def test_no_images_have_no_answers(homoode):
    predictions = ServedModel(homoode[0]).predict(np.zeros((0, 8, 8, 1), np.uint8))
    assert predictions.classes.shape == (0,)
    assert predictions.logits.shape == predictions.probabilities.shape == (0, 10)
    assert predictions.most_probable(2)[0].shape == (0, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros((8, 8, 1), np.uint8),
        np.zeros((2, 8, 8, 1), np.float32),
        np.uint8(3),
    ],
)
def test_refuses_other_images(brightness, wrong):
    with pytest.raises(ValueError, match=r"images must be uint8 of shape \(n, 8, 8, 1\), got"):
        ServedModel(brightness).predict(wrong)


def test_a_failure_in_the_graph_is_one_line(brightness):
    with pytest.raises(PredictionError) as caught:
        ServedModel(brightness).predict(np.full((1, 8, 8, 1), 13, np.uint8))
    assert str(caught.value) == "assertion failed: [bosh3: an unlucky number]"


def test_the_most_probable_come_first():
    logits = np.float32([[0, 2, 1], [5, 5, 0], [200, 0, 201]])
    predictions = Predictions(logits.argmax(-1), tf.nn.softmax(logits).numpy(), logits)
    classes, probabilities = predictions.most_probable(2)
    np.testing.assert_array_equal(classes, [[1, 2], [0, 1], [2, 0]])
    expected = np.take_along_axis(predictions.probabilities, classes, axis=-1)
    np.testing.assert_array_equal(probabilities, expected)
    assert predictions.most_probable(99)[0].shape == (3, 3)


def test_first_is_the_models_own_class_where_probabilities_round_to_the_same():
    logits = np.float32([[1.0, 1.0 + 1e-7]])
    predictions = Predictions(logits.argmax(-1), np.float32([[0.5, 0.5]]), logits)
    assert predictions.most_probable(1)[0] == predictions.classes == 1


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("", shutil.rmtree, "no such folder"),
        ("", lambda folder: shutil.rmtree(folder) or folder.mkdir(), "does not exist"),
        ("saved_model.pb", lambda graph: graph.write_bytes(b"this is none"), "Cannot parse file"),
        ("saved_model.pb", cut, "Cannot parse file"),
        ("variables", shutil.rmtree, "variables"),
    ],
    ids=["missing", "empty", "another graph", "graph cut", "no variables"],
)
def test_damaged_folders(brightness, tmp_path, name, damage, reason):
    folder = tmp_path / "saved"
    shutil.copytree(brightness, folder)
    damage(folder / name)
    with pytest.raises(ModelError, match=reason) as caught:
        ServedModel(folder)
    assert str(caught.value).startswith(f"{folder}: ") and "\n" not in str(caught.value)


def test_a_bit_of_the_graph_that_tensorflow_does_not_miss(homoode, tmp_path):
    folder = tmp_path / "saved"
    shutil.copytree(homoode[0], folder)
    content = bytearray((folder / "saved_model.pb").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "saved_model.pb").write_bytes(content)
    with pytest.raises(ModelError, match=r"saved_model\.pb is not what was written"):
        ServedModel(folder)


def test_refuses_what_makes_no_array(brightness):
    with pytest.raises(ValueError, match=r"images must be uint8 of shape \(n, 8, 8, 1\), got what"):
        ServedModel(brightness).predict([[1], [1, 2]])


def module(answer, spec=SPEC):
    return tf.function(answer, input_signature=[spec])


def answers(images, classes=3):
    logits = tf.reshape(tf.cast(images, tf.float32), [tf.shape(images)[0], -1])[:, :classes]
    logits = tf.ensure_shape(logits, [None, classes])
    return {"logits": logits, "probabilities": logits, "class": tf.argmax(logits, -1)}


@pytest.mark.parametrize(
    ("serve", "reason"),
    [
        (module(answers, tf.TensorSpec((None, 4, 4, 2), tf.uint8, "images")), "must take images"),
        (module(answers, tf.TensorSpec((None, 4, 4, 1), tf.float32, "images")), "must take images"),
        (module(answers, tf.TensorSpec((5, 4, 4, 1), tf.uint8, "images")), "must take images"),
        (module(answers, tf.TensorSpec((None, None, 4, 1), tf.uint8, "images")), "must take ima"),
        (module(answers, tf.TensorSpec((None, 16), tf.uint8, "images")), "must take images"),
        (module(answers, tf.TensorSpec(None, tf.uint8, "images")), "must take images"),
        (module(answers, tf.TensorSpec((None, 4, 4, 1), tf.uint8, "x")), "but takes .*x: uint8"),
        (module(lambda images: {"class": answers(images)["class"]}), "must return .*but returns"),
        (module(lambda images: {**answers(images), "class": 0}), "must return .*but returns"),
        (module(lambda images: answers(images, None)), "how many classes"),
    ],
)
def test_other_signatures(tmp_path, serve, reason):
    save_module(tmp_path / "saved", serve)
    with pytest.raises(ModelError, match=reason) as caught:
        ServedModel(tmp_path / "saved")
    assert str(caught.value).startswith(f"{tmp_path / 'saved'}: ")


def test_another_name_of_the_signature(tmp_path):
    save_module(tmp_path / "saved", module(answers), signature="score")
    with pytest.raises(ModelError, match="has no signature 'serve'; it has: score"):
        ServedModel(tmp_path / "saved")


def test_names_that_do_not_fit(tmp_path):
    save_module(tmp_path / "saved", module(answers), class_names=["one", "two"])
    with pytest.raises(ModelError, match="has 2 names for 3 classes"):
        ServedModel(tmp_path / "saved")
