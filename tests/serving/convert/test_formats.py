# SPDX-License-Identifier: Apache-2.0
"""Converted files in their interpreters, asked without this package's help."""

import json

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from homoode_tf import data, models, solvers
from homoode_tf.layers import ConvDynamics, HomoODE
from homoode_tf.serving import export
from homoode_tf.serving.convert import FORMATS, convert
from homoode_tf.serving.convert.signature import Signature
from homoode_tf.serving.predict import ModelError
from tests.serving.convert.conftest import IMAGES, LAYERS, skip_without
from tests.serving.predict.conftest import save_module

pytestmark = pytest.mark.slow
OUTPUTS = {"class": np.int64, "logits": np.float32, "probabilities": np.float32}


def litert(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    signature = interpreter.get_signature_list()["serve"]
    assert signature["inputs"] == ["images"] and set(signature["outputs"]) == set(OUTPUTS)
    (given,) = interpreter.get_input_details()

    def run(images):
        interpreter.resize_tensor_input(given["index"], images.shape)
        interpreter.allocate_tensors()
        return interpreter.get_signature_runner("serve")(images=images)

    return run


def onnx(path, **options):
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    for name, value in options.items():
        setattr(settings, name, value)
    session = onnxruntime.InferenceSession(str(path), settings)
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(uint8)", [8, 8, 1])

    def run(images):
        return dict(zip(OUTPUTS, session.run(list(OUTPUTS), {"images": images}), strict=True))

    run.session = session
    return run


INTERPRETERS = {"tflite": litert, "onnx": onnx}


def saved_model(path):
    """The signature that all formats are made of."""
    loaded = tf.saved_model.load(str(path))

    def run(images):
        answer = loaded.signatures["serve"](images=tf.constant(images))
        return {name: value.numpy() for name, value in answer.items()}

    return run


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("format", ["saved_model", *FORMATS])
def test_says_what_the_keras_model_says_of_any_number_of_images(converted, format, name):
    model = converted(name)
    if format == "saved_model":
        run = saved_model(model.saved_model)
    else:
        skip_without(format)
        run = INTERPRETERS[format](model.file(format))
    for count in (3, 0, 1, 7, 1):
        # TensorFlow's own convolution of no images has a wrong shape.
        logits = model.expected(7 - count, 7)[0] if count else np.zeros((0, 10))
        answer = run(IMAGES[7 - count :])
        assert {name: value.dtype for name, value in answer.items()} == OUTPUTS
        assert answer["logits"].shape == answer["probabilities"].shape == (count, 10)
        np.testing.assert_allclose(answer["logits"], logits, rtol=0, atol=1e-4)
        np.testing.assert_array_equal(answer["class"], logits.argmax(axis=-1))
        expected = scipy.special.softmax(logits, axis=-1)
        np.testing.assert_allclose(answer["probabilities"], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["bosh3 by sample", "bosh3 by batch"])
def test_takes_the_steps_that_an_image_needs(converted, name, format):
    """No number of equal steps, such as another image's, would do for all of them."""
    skip_without(format)
    model = converted(name)
    run = INTERPRETERS[format](model.file(format))
    logits, evaluations = zip(*(model.expected(i, i + 1) for i in range(7)), strict=True)
    few, many = np.argmin(evaluations), np.argmax(evaluations)
    assert max(evaluations) >= min(evaluations) + 6  # two steps
    for i in (few, many):
        answer = run(IMAGES[i : i + 1])["logits"]
        np.testing.assert_allclose(answer, logits[i], rtol=0, atol=1e-4)
    image = IMAGES[many : many + 1]
    keras_model = model.model
    few_steps = solvers.get("bosh3", num_steps=min(evaluations) // 3)
    solution = keras_model.implicit.solve(keras_model.condition(image), solver=few_steps)
    rigid = keras_model.head(solution.final_state)
    assert np.abs(run(image)["logits"] - rigid).max() > 1e-3


def test_onnxruntime_evaluates_the_dynamics_as_often_as_the_keras_model(converted, tmp_path):
    skip_without("onnx")
    model = converted("bosh3 by sample")
    convolutions, evaluations = [], []
    for number, image in enumerate(IMAGES):
        run = onnx(
            model.file("onnx"),
            enable_profiling=True,
            profile_file_prefix=str(tmp_path / str(number)),
        )
        run(image[np.newaxis])
        with open(run.session.end_profiling(), encoding="utf-8") as file:
            events = json.load(file)
        names = [e["args"].get("op_name") for e in events if e["name"].endswith("_kernel_time")]
        convolutions.append(sum(name in ("Conv", "FusedConv") for name in names))
        evaluations.append(model.expected(number, number + 1)[1])
    assert len(set(evaluations)) >= 3
    # Two convolutions an evaluation, and those of stem and head.
    outside = np.array(convolutions) - 2 * np.array(evaluations)
    assert set(outside) == {outside[0]} and 2 <= outside[0] <= 4


@pytest.fixture(scope="module")
def keras_export(tmp_path_factory):
    """A user's own model with one of the layers, as Keras exports it, and the model."""
    layer = HomoODE(ConvDynamics(3, groups=1), "bosh3", rtol=1e-2, atol=1e-2)
    layers = [keras.Input((6, 6, 3)), layer, keras.layers.Flatten(), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    directory = tmp_path_factory.mktemp("keras") / "exported"
    model.export(directory, verbose=False)
    return model, directory


@pytest.mark.parametrize("format", FORMATS)
def test_what_keras_has_exported_is_converted(keras_export, tmp_path, format):
    skip_without(format)
    model, directory = keras_export
    done = convert(directory, tmp_path / "model", format)
    assert done.num_images == 11 and done.max_difference < 1e-4
    signature = Signature(directory)
    (batch, *_) = signature.batches()
    assert batch.dtype == np.float32 and batch.min() == 0.0 and batch.max() == 1.0
    run = FORMATS[format].load(tmp_path / "model", signature.key, signature.input_name)
    (answer,) = run(batch).values()
    np.testing.assert_allclose(answer, model(batch), atol=1e-4)


def test_keras_s_own_onnx_export_says_what_to_do_instead(keras_export, tmp_path):
    skip_without("onnx")
    with pytest.raises(ValueError, match=r"Use model.export\(DIR\), .* homoode_tf.convert"):
        keras_export[0].export(tmp_path / "model.onnx", format="onnx", verbose=False)
    assert not (tmp_path / "model.onnx").exists()


@pytest.fixture(scope="module")
def digits_model(tmp_path_factory):
    """A classifier of digits after a few steps, its SavedModel, and the test images."""
    folder = tmp_path_factory.mktemp("digits")
    images = data.load("digits", data_dir=folder)
    model = models.build(
        {"channels": 32, "head_channels": 64, "solver": "euler", "num_steps": 2},
        (8, 8, 1), 10, images.info.mean, images.info.std,
    )  # fmt: skip
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images.train_batches(64, seed=0, num_steps=40), verbose=0)
    export.save(model, folder / "saved_model", (8, 8, 1), images.info.class_names)
    return folder / "saved_model", *next(iter(images.evaluation_batches("test", 360)))


@pytest.mark.parametrize(("quantize", "share"), [("float16", 0.75), ("dynamic_range", 0.6)])
def test_quantised_weights_take_less_and_say_nearly_the_same(
    digits_model, tmp_path, quantize, share
):
    skip_without("tflite")
    directory, images, labels = digits_model
    whole = convert(directory, tmp_path / "whole", "tflite")
    done = convert(directory, tmp_path / "model", "tflite", quantize=quantize)
    assert done.size < share * whole.size
    assert whole.max_difference < done.max_difference
    classes = INTERPRETERS["tflite"](done.path)(images.numpy())["class"]
    expected = saved_model(directory)(images.numpy())["class"]
    assert np.mean(classes == expected) > 0.97
    assert np.mean(classes == labels) > np.mean(expected == labels) - 0.02 > 0.5


def test_quantisation_is_for_litert(digits_model, tmp_path):
    with pytest.raises(ValueError, match="quantize='float16' is for the format tflite"):
        convert(digits_model[0], tmp_path / "model", "onnx", quantize="float16")
    with pytest.raises(ValueError, match="quantize must be one of none, float16, dynamic_range"):
        convert(digits_model[0], tmp_path / "model", "tflite", quantize="int4")


@pytest.mark.parametrize(
    ("specs", "answer", "message"),
    [
        ([tf.TensorSpec([None, 4], name="a"), tf.TensorSpec([None, 4], name="b")], 0, "must take"),
        ([tf.TensorSpec([None], tf.string, name="a")], 0, "one float or uint8 tensor, but takes a"),
        ([tf.TensorSpec([None, None, 3], name="a")], 0, "the sizes of 'a' must be known"),
        ([tf.TensorSpec([None, 4], name="a")], "text", "returns answer: string"),
    ],
)
def test_a_signature_that_cannot_be_converted(tmp_path, specs, answer, message):
    serve = tf.function(lambda *_: {"answer": tf.constant([answer])}, input_signature=specs)
    save_module(tmp_path / "saved_model", serve, signature="serving_default")
    with pytest.raises(ModelError, match=message):
        convert(tmp_path / "saved_model", tmp_path / "model", "tflite")
