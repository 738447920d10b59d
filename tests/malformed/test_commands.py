# SPDX-License-Identifier: Apache-2.0
"""That the judge and the processes of these tests would see what is wrong."""

import pytest

from tests.malformed.commands import Outcome, fault, run

TRACEBACK = 'Traceback (most recent call last):\n  File "x"\nValueError: size\n'
LINE = "train.py: size must be positive\n"


@pytest.mark.parametrize(
    ("status", "output", "errors", "found"),
    [
        (1, "", f"W0000 00:00 a notice\n{LINE}I0000 00:00 another\n", None),
        (1, "", TRACEBACK, "a traceback"),
        (1, "", TRACEBACK + LINE, "a traceback"),
        (1, TRACEBACK, LINE, "a traceback"),
        (0, "", LINE, "status 0"),
        (-6, "", LINE, "status -6"),
        (None, "", "", "did not end"),
        (1, "", "", "the message names none of Size"),
        (1, "", f"{LINE}core dumped: size\n", "the last line is not ours"),
        (1, "", "train.py: something is wrong\n", "the message names none of Size"),
        (1, "", f"train.py: size {'x' * 9999}\n", "a message of 10014 letters"),
    ],
)
def test_the_judge(status, output, errors, found):
    judged = fault(Outcome(status, output, errors), ["Size"])
    assert judged is None if found is None else judged.startswith(found)


def test_success_must_come_with_a_word_of_the_damage():
    warned = Outcome(0, "", "Checkpoint 3 is Damaged\nall is well\n")
    assert fault(warned, ["damaged"], [0]) is None
    assert "names none" in fault(Outcome(0, "", "all is well\n"), ["damaged"], [0])
    assert "status 1" in fault(Outcome(1, "", "train.py: damaged\n"), ["damaged"], [0])


@pytest.mark.parametrize("as_user", [False, True], ids=["fork", "start"])
@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("import sys; sys.exit(f'train.py: no {sys.argv[1]}')", None),
        ("raise ValueError('size')", "a traceback"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "status -15"),
        ("import time; time.sleep(60)", "did not end"),
    ],
)
def test_how_a_process_ends_is_seen(tmp_path, as_user, program, found):
    (tmp_path / "train.py").write_text(program)
    limit = 0.1 if found == "did not end" else 60.0
    judged = fault(run(["train.py", "size"], as_user, limit, root=tmp_path), ["size"])
    assert judged is None if found is None else judged.startswith(found)
