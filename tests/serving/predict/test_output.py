# SPDX-License-Identifier: Apache-2.0
import json

from homoode_tf.serving.predict.output import Answer, Table, guess, json_lines


def test_columns_are_aligned_and_never_narrower_than_before():
    table = Table()
    first = table.lines(
        [
            Answer("a.png", [guess(0, "cat", 0.75)]),
            Answer("folder/b.png", [guess(1, "a long name", 0.123456)]),
        ]
    )
    assert first == [
        "path          class        probability",
        "a.png         cat          0.7500",
        "folder/b.png  a long name  0.1235",
    ]
    assert table.lines([]) == []
    assert table.lines([Answer("c.png", [guess(0, "cat", 1.0)])]) == [
        "c.png         cat          1.0000"
    ]


def test_a_table_before_its_first_answer():
    table = Table()
    assert table.lines([]) == []
    assert table.lines([Answer("c.png", [guess(3, None, 1.0)])]) == [
        "path   class  probability",
        "c.png  3      1.0000",
    ]


def test_several_guesses():
    answer = Answer("a", [guess(4, "four", 0.5), guess(9, "nine", 0.25)])
    assert [line.split() for line in Table().lines([answer])] == [
        ["path", "class", "probability", "class", "probability"],
        ["a", "four", "0.5000", "nine", "0.2500"],
    ]
    four = {"class": 4, "class_name": "four", "probability": 0.5}
    nine = {"class": 9, "class_name": "nine", "probability": 0.25}
    (line,) = json_lines([answer], top=True)
    assert json.loads(line) == {"path": "a", **four, "top": [four, nine]}
    (line,) = json_lines([answer])
    assert json.loads(line) == {"path": "a", **four}


def test_names_cannot_break_a_line():
    answer = Answer("two\nlines\x1b[31m\udcff é", [guess(0, "a\tb", 1.0)])
    assert Table().lines([answer])[1].startswith(r"two\nlines\x1b[31m\udcff é  a\tb")
    (line,) = json_lines([answer])
    assert "\n" not in line and json.loads(line)["path"] == answer.path
