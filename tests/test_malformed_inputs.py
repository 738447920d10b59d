# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest

from configs import digits
from scripts.malformed_inputs import processes
from scripts.malformed_inputs.__main__ import report
from scripts.malformed_inputs.case import TRAIN, Case, Outcome, judge
from scripts.malformed_inputs.fields import FIELDS

CASE = Case("arrays", "a size that is none", TRAIN, ["--size=-1"], names=["size"])
SURVIVED = Case("checkpoints", "one of two", TRAIN, [], names=["damaged"], statuses=[0])
TRACEBACK = 'Traceback (most recent call last):\n  File "x"\nValueError: size\n'


@pytest.mark.parametrize(
    ("case", "status", "errors", "fault"),
    [
        (CASE, 1, "train.py: size must be positive\n", None),
        (CASE, 1, "W0000 00:00 a notice\ntrain.py: no Size\nI0000 00:00 another\n", None),
        (CASE, 1, TRACEBACK, "a traceback"),
        (CASE, 1, f"{TRACEBACK}train.py: size must be positive\n", "a traceback"),
        (CASE, 0, "train.py: size must be positive\n", "status 0 instead of 1"),
        (CASE, 2, "train.py: size must be positive\n", "status 2 instead of 1"),
        (CASE, -6, "train.py: size must be positive\n", "status -6 instead of 1"),
        (CASE, None, "", "did not end"),
        (CASE, 1, "", "the last line is not ours"),
        (CASE, 1, "train.py: size\ncore dumped\n", "the last line is not ours"),
        (CASE, 1, "train.py: something is wrong\n", "the message names none of: size"),
        (CASE, 1, f"train.py: size {'x' * 9999}\n", "a message of 10014 letters"),
        (SURVIVED, 0, "Checkpoint 3 is damaged\nall is well\n", None),
        (SURVIVED, 0, "all is well\n", "success without a word of the damage"),
        (SURVIVED, 1, "train.py: damaged\n", "status 1 instead of 0"),
    ],
)
def test_the_judge(case, status, errors, fault):
    assert judge(case, Outcome(status, "", errors, 1.0)) == fault


def test_a_traceback_on_the_standard_output_counts_too():
    assert judge(CASE, Outcome(1, TRACEBACK, "train.py: size\n", 1.0)) == "a traceback"


@pytest.mark.parametrize("as_user", [False, True], ids=["fork", "start"])
@pytest.mark.parametrize(
    ("program", "fault"),
    [
        ("import sys; sys.exit(f'train.py: no {sys.argv[1]}')", None),
        ("raise ValueError('size')", "a traceback"),
        ("print('size')", "status 0 instead of 1"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "status -15 instead of 1"),
        ("import time; time.sleep(60)", "did not end"),
    ],
)
def test_processes(tmp_path, monkeypatch, as_user, program, fault):
    (tmp_path / "train.py").write_text(program)
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    ((case, outcome),) = processes.run([(CASE, as_user)], jobs=2, limit=2.0)
    assert judge(case, outcome) == fault
    assert outcome.seconds < 10


def test_the_report_fails_where_a_case_does(tmp_path, capsys):
    folder = tmp_path / "files"
    folder.mkdir()
    good = Outcome(1, "", "train.py: no size\n", 1.0)
    case = Case("arrays", "no size", TRAIN, ["--size=a b"], names=["size"], folder=folder)
    assert report([(CASE, good), (case, Outcome(0, "", "", 3.0))], 2) == 1
    printed = capsys.readouterr().out
    assert "FAILED, status 0 instead of 1: no size: python train.py '--size=a b'" in printed
    assert "1 of 2 passed; the longest took 3 s." in printed
    assert folder.exists()  # for a look at it
    assert report([(case, good)], 1) == 0
    assert not folder.exists()


def flat_names(config, prefix=""):
    for name, value in config.items():
        if hasattr(value, "items"):
            yield from flat_names(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_field_of_a_config_has_wrong_values():
    assert {field.name for field in FIELDS} == set(flat_names(digits.get_config()))
    assert all(field.texts and field.expressions for field in FIELDS)


@pytest.mark.slow
def test_some_of_each_kind(tmp_path):
    command = [sys.executable, "-m", "scripts.malformed_inputs", "--count=40", "--seed=1"]
    done = subprocess.run(
        [*command, f"--workdir={tmp_path}"],
        cwd=processes.ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout
    assert "40 of 40 passed" in done.stdout
