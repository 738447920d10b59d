# SPDX-License-Identifier: Apache-2.0
"""What is converted, what is refused, and what then lies in the folder."""

import ast
import importlib.util
import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

import homoode_tf
from homoode_tf.serving.convert import (
    FORMATS,
    ConversionError,
    MissingPackageError,
    conversion,
    convert,
)
from homoode_tf.serving.convert.command import main
from homoode_tf.serving.predict import ModelError
from tests.serving.convert.conftest import skip_without
from tests.serving.predict.conftest import save_module


def save(directory, logits_of):
    """Saves a model of three classes whose logits are a function of the images in 0..1."""

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1), tf.uint8, name="images")])
    def serve(images):
        logits = logits_of(tf.cast(images, tf.float32) / 255.0)
        return {
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
            "class": tf.argmax(logits, axis=-1),
        }

    return save_module(directory, serve)


def brightness(images):
    return -tf.abs(tf.reduce_mean(images, axis=[1, 2]) - [0.0, 0.5, 1.0])


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    return save(tmp_path_factory.mktemp("brightness") / "saved_model", brightness)


@pytest.fixture(params=FORMATS)
def format(request):
    skip_without(request.param)
    return request.param


def answers_changed_by(monkeypatch, format, change):
    """Lets the interpreter of a format answer something else."""
    load = FORMATS[format].load

    def changed(*arguments):
        run = load(*arguments)

        def answer(images):
            found = {name: value.copy() for name, value in run(images).items()}
            change(found)
            return found

        return answer

    monkeypatch.setattr(FORMATS[format], "load", changed)


def shift(amount):
    def change(answer):
        answer["logits"][-1] += np.float32(amount)

    return change


def other_class(answer):
    answer["class"][0] = (answer["class"][0] + 1) % 3


def test_writes_one_file_and_says_how_near_it_is(saved_model, tmp_path, format):
    done = convert(saved_model, tmp_path / "model", format)
    assert list(tmp_path.iterdir()) == [done.path] == [tmp_path / "model"]
    assert done.size == done.path.stat().st_size > 500
    assert 0.0 <= done.max_difference <= 1e-5 and done.num_images == 11


@pytest.mark.parametrize(
    ("change", "difference"),
    [(shift(2e-4), "0.0002"), (shift(np.nan), "nan"), (other_class, "inf")],
)
def test_other_answers_are_refused(saved_model, tmp_path, format, monkeypatch, change, difference):
    answers_changed_by(monkeypatch, format, change)
    (tmp_path / "model").write_text("an earlier file")
    reason = f"differ from the SavedModel's by {difference}, more than the tolerance 0.0001"
    with pytest.raises(ConversionError, match=reason):
        convert(saved_model, tmp_path / "model", format)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["an earlier file"]


def test_the_tolerance_is_the_caller_s(saved_model, tmp_path, format, monkeypatch):
    answers_changed_by(monkeypatch, format, shift(2e-4))
    done = convert(saved_model, tmp_path / "model", format, tolerance=1e-3)
    assert done.max_difference == pytest.approx(2e-4, rel=0.01)


def test_infinity_that_is_not_selected_does_no_harm(tmp_path, format):
    """As of a step that overflows and is rejected."""

    def logits_of(images):
        mean = brightness(images)
        return tf.where(mean > -0.25, mean, tf.where(mean < -0.25, mean, tf.math.log(0.0 * mean)))

    save(tmp_path / "saved_model", logits_of)
    assert convert(tmp_path / "saved_model", tmp_path / "model", format).max_difference <= 1e-5


def test_an_operation_without_equivalent_is_named(tmp_path, format):
    def logits_of(images):
        return tf.linalg.diag_part(
            tf.linalg.cholesky(tf.eye(3) + tf.reduce_mean(images, axis=[1, 2, 3])[:, None, None])
        )

    save(tmp_path / "saved_model", logits_of)
    with pytest.raises(ConversionError, match=f"cannot be converted to {format}: .*Cholesky"):
        convert(tmp_path / "saved_model", tmp_path / "model", format)
    assert not (tmp_path / "model").exists()


def test_a_savedmodel_that_fails_itself_is_not_compared(tmp_path, format):
    def logits_of(images):
        check = tf.debugging.Assert(tf.reduce_mean(images) < 0.0, ["dopri5: no such time"])
        with tf.control_dependencies([check]):
            return brightness(images)

    save(tmp_path / "saved_model", logits_of)
    with pytest.raises(ConversionError, match="itself fails .*dopri5: no such time"):
        convert(tmp_path / "saved_model", tmp_path / "model", format)
    assert not (tmp_path / "model").exists()


def test_no_savedmodel(tmp_path, format):
    with pytest.raises(ModelError, match="no such folder"):
        convert(tmp_path / "nothing", tmp_path / "model", format)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="no readable SavedModel"):
        convert(tmp_path / "empty", tmp_path / "model", format)


def test_where_nothing_can_be_written(saved_model, tmp_path, format):
    with pytest.raises(ConversionError, match="its folder does not exist"):
        convert(saved_model, tmp_path / "nowhere" / "model", format)
    with pytest.raises(ConversionError, match="it is a folder"):
        convert(saved_model, tmp_path, format)


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("name", ["model.keras", "model.onnx", "model.H5", "result.json"])
def test_files_of_another_kind_are_not_replaced(saved_model, tmp_path, name, is_there):
    if is_there:
        (tmp_path / name).write_text("kept")
    elif name == "result.json":
        pytest.skip("A name of any other kind is free.")
    with pytest.raises(ConversionError, match=r"give a name that ends in \.tflite"):
        convert(saved_model, tmp_path / name, "tflite")
    assert not is_there or (tmp_path / name).read_text() == "kept"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pipe", "it is no regular file"),
        ("device", "it is no regular file"),
        ("loop", "Too many levels of symbolic links"),
        ("n" * 300, "File name too long"),
        ("model/saved_model.pb", "it lies in the SavedModel, which is to be kept"),
        ("link/variables/new", "it lies in the SavedModel, which is to be kept"),
    ],
)
def test_nothing_but_a_file_is_replaced(saved_model, tmp_path, capsys, name, reason):
    skip_without("tflite")
    shutil.copytree(saved_model, tmp_path / "model")
    os.mkfifo(tmp_path / "pipe")
    for link, target in {"device": "/dev/null", "loop": "loop", "link": "model"}.items():
        (tmp_path / link).symlink_to(target)
    before = {path: path.lstat() for path in tmp_path.rglob("*")}
    output = tmp_path / name
    flags = ["--saved_model", str(tmp_path / "model"), "--format", "tflite"]
    assert main([*flags, "--output", str(output)]) == 1
    said = f"python -m homoode_tf.convert: {output} cannot be written: {reason}\n"
    assert capsys.readouterr().err == said
    after = {path: path.lstat() for path in tmp_path.rglob("*")}
    assert [(p, s.st_ino, s.st_mtime_ns) for p, s in before.items()] == [
        (p, s.st_ino, s.st_mtime_ns) for p, s in after.items()
    ]


def test_the_longest_name_is_written(saved_model, tmp_path, format):
    convert(saved_model, tmp_path / ("n" * 255), format)
    assert [path.name for path in tmp_path.iterdir()] == ["n" * 255]


def test_a_full_disk_leaves_nothing(saved_model, tmp_path, format, monkeypatch):
    def full(path, content):
        path.write_bytes(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(conversion, "_write", full)
    with pytest.raises(ConversionError, match="cannot be written: No space left on device"):
        convert(saved_model, tmp_path / "model", format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("format", "extra"), [("tflite", "litert"), ("onnx", "onnx")])
def test_a_missing_package_comes_with_the_command_that_installs_it(
    saved_model, tmp_path, monkeypatch, capsys, format, extra
):
    missing = FORMATS[format].PACKAGES[-1]
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == missing else find(name)
    )
    for package in FORMATS[format].PACKAGES[:-1]:
        pytest.importorskip(package)
    reason = rf"^{missing} not installed; run: pip install -e '\.\[{extra}\]'$"
    with pytest.raises(MissingPackageError, match=reason):
        convert(saved_model, tmp_path / "model", format)
    flags = ["--format", format, "--output", str(tmp_path / "model")]
    assert main(["--saved_model", str(saved_model), *flags]) == 2
    assert capsys.readouterr().err.startswith(f"python -m homoode_tf.convert: {missing} not")


def test_wrong_arguments(saved_model, tmp_path):
    with pytest.raises(ValueError, match="format must be one of tflite, onnx, got 'coreml'"):
        convert(saved_model, tmp_path / "model", "coreml")
    for tolerance in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="tolerance must be a number above 0"):
            convert(saved_model, tmp_path / "model", "onnx", tolerance)


def test_the_command(saved_model, tmp_path, format, monkeypatch, capsys):
    output = tmp_path / "model"
    flags = ["--saved_model", str(saved_model), "--format", format, "--output", str(output)]
    assert main(flags) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{output}: ") and printed.endswith(" on 11 images.\n")
    assert "KiB; largest difference from the SavedModel" in printed
    answers_changed_by(monkeypatch, format, shift(1e-3))
    assert main(flags) == 1
    assert "more than the tolerance 0.0001" in capsys.readouterr().err
    assert main([*flags, "--tolerance", "1e-2"]) == 0
    assert main([*flags, "--tolerance", "-1"]) == 2
    assert main([*flags, "--saved_model", "nowhere"]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err


def test_importing_the_package_imports_no_converter():
    converters = {name for module in FORMATS.values() for name in module.PACKAGES}
    for path in pathlib.Path(homoode_tf.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:  # Not what functions import.
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None) or "", *(name.name for name in node.names)]
                assert converters.isdisjoint(name.split(".")[0] for name in names), path


def test_what_a_killed_conversion_left_is_removed(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    for number in (dead.pid, os.getppid(), "mine"):
        (tmp_path / f".convert-{number}-abc").mkdir()
    with conversion._replacing(tmp_path / "a[1].onnx") as new:
        new.touch()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a[1].onnx", ".convert-mine-abc", f".convert-{os.getppid()}-abc"}
