# SPDX-License-Identifier: Apache-2.0
import doctest
import json

from homoode_tf.serving.predict import images, output
from homoode_tf.serving.predict.output import Answer, Guess, JsonLines, Table


def test_examples_in_the_docstrings():
    for module in (output, images):
        result = doctest.testmod(module)
        assert result.attempted and not result.failed


def test_columns_are_aligned_and_never_narrower_than_before():
    table = Table()
    first = table.lines(
        [
            Answer("a.png", [Guess(0, "cat", 0.75)]),
            Answer("folder/b.png", [Guess(1, "a long name", 0.123456)]),
        ]
    )
    assert first == [
        "path          class        probability",
        "a.png         cat          0.7500",
        "folder/b.png  a long name  0.1235",
    ]
    assert table.lines([]) == []
    assert table.lines([Answer("c.png", [Guess(0, "cat", 1.0)])]) == [
        "c.png         cat          1.0000"
    ]


def test_a_table_before_its_first_answer():
    table = Table()
    assert table.lines([]) == []
    assert table.lines([Answer("c.png", [Guess(3, None, 1.0)])]) == [
        "path   class  probability",
        "c.png  3      1.0000",
    ]


def test_several_guesses():
    answer = Answer("a", [Guess(4, "four", 0.5), Guess(9, "nine", 0.25)])
    assert [line.split() for line in Table().lines([answer])] == [
        ["path", "class", "probability", "class", "probability"],
        ["a", "four", "0.5000", "nine", "0.2500"],
    ]
    four = {"class": 4, "class_name": "four", "probability": 0.5}
    nine = {"class": 9, "class_name": "nine", "probability": 0.25}
    (line,) = JsonLines(top=True).lines([answer])
    assert json.loads(line) == {"path": "a", **four, "top": [four, nine]}
    (line,) = JsonLines().lines([answer])
    assert json.loads(line) == {"path": "a", **four}


def test_names_cannot_break_a_line():
    answer = Answer("two\nlines\x1b[31m\udcff é", [Guess(0, "a\tb", 1.0)])
    assert Table().lines([answer])[1].startswith(r"two\nlines\x1b[31m\udcff é  a\tb")
    (line,) = JsonLines().lines([answer])
    assert "\n" not in line and json.loads(line)["path"] == answer.path
