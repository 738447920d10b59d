# SPDX-License-Identifier: Apache-2.0
"""`python -m homoode_tf.predict` from its arguments to what it prints."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from homoode_tf.serving.predict import images
from homoode_tf.serving.predict.command import main
from tests.serving.predict.conftest import NAMES, save_module

SHADES = {"dark": 0, "middle": 127, "bright": 255}


def save_shade(path, shade, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, shade).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    """Nine images, three of each brightness, in turn, and of many sizes."""
    for number in range(9):
        shade = list(SHADES.values())[number % 3]
        save_shade(tmp_path / "images" / f"{number}.png", shade, (5 + 7 * number, 40 - number))
    return tmp_path / "images"


@pytest.fixture
def ask(brightness):
    def run(*arguments, model=brightness):
        return main(["--saved_model", str(model), *map(str, arguments)])

    return run


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("batch_size", [1, 2, 9, 64])
def test_json_lines_in_the_order_of_the_files(ask, folder, capsys, batch_size):
    last = save_shade(folder.parent / "last.jpg", 255)
    first = save_shade(folder.parent / "z_first.jpg", 255)
    status = ask(first, folder, last, "--format", "jsonl", "--batch_size", batch_size)
    printed = capsys.readouterr()
    assert (status, printed.err) == (0, "")
    found = objects(printed.out)
    paths = [first, *(folder / f"{number}.png" for number in range(9)), last]
    assert [answer["path"] for answer in found] == list(map(str, paths))
    assert [answer["class_name"] for answer in found] == ["bright", *NAMES * 3, "bright"]
    assert [answer["class"] for answer in found] == [2, *[0, 1, 2] * 3, 2]
    for answer in found:
        assert answer["probability"] == pytest.approx(1.0, abs=0.05)
        assert set(answer) == {"path", "class", "class_name", "probability"}


def test_a_table_of_the_same(ask, folder, capsys):
    assert ask(folder) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["path", "class", "probability"]
    assert [row.split()[1] for row in rows] == NAMES * 3
    assert len({row.rindex(row.split()[2]) for row in rows} | {header.index("probability")}) == 1


def test_a_model_without_names(ask, folder, nameless, capsys):
    assert ask(folder / "0.png", folder / "2.png", model=nameless) == 0
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[1] for row in rows] == ["0", "2"]
    assert ask(folder / "2.png", "--format", "jsonl", model=nameless) == 0
    (answer,) = objects(capsys.readouterr().out)
    assert answer["class"] == 2 and "class_name" not in answer


@pytest.mark.parametrize("top", [1, 2, 5])
def test_the_most_probable_classes(ask, folder, capsys, top):
    assert ask(folder / "0.png", "--format", "jsonl", "--top", top) == 0
    (answer,) = objects(capsys.readouterr().out)
    expected = ["dark", "middle", "bright"][:top]
    assert [guess["class_name"] for guess in answer["top"]] == expected
    assert all(answer[key] == value for key, value in answer["top"][0].items())
    assert ask(folder / "0.png", "--top", top) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[1::2] == expected


def test_what_cannot_be_read_is_reported_and_the_rest_is_done(ask, folder, tmp_path, capsys):
    (folder / "3.png").write_text("not an image")
    (folder / "5.png").write_bytes((folder / "5.png").read_bytes()[:-30])
    (folder / "6.png").write_bytes(b"")
    (tmp_path / "nothing").mkdir()
    status = ask(tmp_path / "missing.png", folder, tmp_path / "nothing", "--batch_size", 3)
    printed = capsys.readouterr()
    assert status == 1
    _, *rows = printed.out.splitlines()
    assert [row.split()[0] for row in rows] == [
        str(folder / f"{number}.png") for number in (0, 1, 2, 4, 7, 8)
    ]
    reported = [line.split(": ")[:2] for line in printed.err.splitlines()]
    assert reported == [
        [str(tmp_path / "missing.png"), "No such file or directory"],
        [str(folder / "3.png"), "no PNG, JPEG, WebP, BMP or GIF image, or its header is damaged"],
        [str(folder / "5.png"), "damaged image"],
        [str(folder / "6.png"), "empty file"],
        [str(tmp_path / "nothing"), "no .png, .jpg, .jpeg, .webp, .bmp or .gif file in it"],
    ]


def test_nothing_that_could_be_read(ask, tmp_path, capsys):
    assert ask(tmp_path) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1


def test_an_image_on_which_the_model_fails_takes_no_other_along(ask, folder, capsys):
    save_shade(folder / "4.png", 13)
    assert ask(folder, "--format", "jsonl") == 1
    printed = capsys.readouterr()
    assert len(objects(printed.out)) == 8
    reason = "the model failed: assertion failed: [bosh3: an unlucky number]"
    assert printed.err == f"{folder / '4.png'}: {reason}\n"


def test_an_answer_that_is_no_number_is_reported(tmp_path, folder, ask, capsys):
    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1), tf.uint8, name="images")])
    def serve(images):
        logits = tf.math.log(tf.cast(images[:, 0, 0], tf.float32) - [1.0, 0.0])
        return {
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
            "class": tf.argmax(logits, -1),
        }

    model = save_module(tmp_path / "saved", serve)
    assert ask(folder / "0.png", folder / "1.png", "--format", "jsonl", model=model) == 1
    printed = capsys.readouterr()
    assert [answer["path"] for answer in objects(printed.out)] == [str(folder / "1.png")]
    assert printed.err == f"{folder / '0.png'}: the model's answer is not a number\n"


def test_fit_and_background_reach_the_reader(ask, tmp_path, capsys):
    pixels = np.zeros((30, 90, 2), np.uint8)  # transparent to the left and right
    pixels[:, 30:60, 1] = 255
    Image.fromarray(pixels).save(tmp_path / "image.png")
    found = {}
    for fit in images.FITS:
        for background in images.BACKGROUNDS:
            flags = ["--format", "jsonl", "--fit", fit, "--background", background]
            assert ask(tmp_path / "image.png", *flags) == 0
            found[fit, background] = objects(capsys.readouterr().out)[0]["class_name"]
    assert found == {
        ("crop", "white"): "dark",
        ("crop", "black"): "dark",
        ("squeeze", "white"): "middle",
        ("squeeze", "black"): "dark",
    }


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--batch_size", "0"], "--batch_size must be an integer at least 1, got 0."),
        (
            ["--batch_size", "9" * 20],
            f"--batch_size must be an integer at least 1 and below {2**31}, got {'9' * 20}.",
        ),
        (["--top", "-1"], "--top must be an integer at least 1, got -1."),
        (["--saved_model", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_what_stops_the_command_is_one_line(ask, folder, capsys, flags, reason):
    assert ask(folder, *flags) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"python -m homoode_tf.predict: {reason}\n"


def test_wrong_flags_end_with_status_two(ask, folder, capsys):
    for flags in (["--format", "xml"], ["--top", "many"], ["--colour", "red"]):
        with pytest.raises(SystemExit) as caught:
            ask(folder, *flags)
        assert caught.value.code == 2
    with pytest.raises(SystemExit) as caught:
        main(["image.png"])
    assert caught.value.code == 2
    assert "--saved_model" in capsys.readouterr().err


def test_only_a_batch_of_images_is_in_memory(ask, folder, monkeypatch, capsys):
    """Every batch is printed before the next is read."""
    read, lines_at_each_read = images.read, []

    def count(path, *rest):
        lines_at_each_read.append(len(objects(sys.stdout.getvalue())))
        return read(path, *rest)

    monkeypatch.setattr(images, "read", count)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert ask(folder, "--format", "jsonl", "--batch_size", 2) == 0
    assert lines_at_each_read == [0, 0, 2, 2, 4, 4, 6, 6, 8]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("batch_size", "shown"), [(2, True), (9, False)])
def test_progress_of_many_files_on_a_terminal(ask, folder, monkeypatch, capsys, batch_size, shown):
    (folder / "4.png").write_text("not an image")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert ask(folder, "--format", "jsonl", "--batch_size", batch_size) == 1
    assert ("0/9" in terminal.getvalue()) == shown
    assert f"{folder / '4.png'}: no PNG" in terminal.getvalue()
    assert len(objects(capsys.readouterr().out)) == 8  # and nothing else


def test_interrupted(ask, folder, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(images, "read", interrupt)
    assert ask(folder) == 130
    assert capsys.readouterr().err == "python -m homoode_tf.predict: stopped by SIGINT\n"


def lines_of_its_own(stderr):
    """What the command itself says: TensorFlow has some lines that no setting silences."""
    notices = ("I0000", "E0000", "W0000", "WARNING: ")
    return [line for line in stderr.decode().splitlines() if not line.startswith(notices)]


@pytest.mark.slow
def test_as_a_process(homoode, folder):
    (folder / "1.png").write_text("not an image")
    command = [sys.executable, "-m", "homoode_tf.predict", "--saved_model", homoode[0], folder]
    done = subprocess.run(command, capture_output=True)
    said = lines_of_its_own(done.stderr)
    assert done.returncode == 1 and len(done.stdout.splitlines()) == 9
    assert len(said) == 1 and said[0].startswith(f"{folder / '1.png'}: no PNG")


def test_a_reader_that_has_enough_is_no_error(ask, folder, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:  # That it can be closed shows that nothing is left in it.
        monkeypatch.setattr(sys, "stdout", pipe)
        assert ask(folder) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk(ask, folder, monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert ask(folder) == 1
    reason = "the output cannot be written: No space left on device: make room and try again"
    assert capsys.readouterr().err == f"python -m homoode_tf.predict: {reason}\n"


def test_a_mistake_of_ours_keeps_its_traceback(ask, folder, monkeypatch):
    def fail(*_):
        raise TypeError("ours")

    monkeypatch.setattr(images, "read", fail)
    with pytest.raises(TypeError, match="ours"):
        ask(folder)
