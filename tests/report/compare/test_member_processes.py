# SPDX-License-Identifier: Apache-2.0
"""Processes that end, fail, are killed and are interrupted, with a program that trains nothing."""

import os
import signal
import time

import ml_collections
import pytest

from homoode_tf.compare import Member
from homoode_tf.report.compare import member_processes
from homoode_tf.training.interruption import Interrupted

PROGRAM = """
import json, os, pathlib, signal, sys, time

def stop(*_):
    print("is saved", flush=True)
    sys.exit(128 + signal.SIGTERM)

signal.signal(signal.SIGTERM, stop)
task = json.loads(sys.argv[1])
does = json.loads(task["config"])["does"]
print(does, flush=True)
if does == "fail":
    sys.exit("it failed")
if does == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if does == "stop":
    stop()
if does == "wait":
    time.sleep(60)
(pathlib.Path(task["workdir"]) / "result.json").write_text(json.dumps({"cores": task["cores"]}))
"""


@pytest.fixture
def members(tmp_path, monkeypatch):
    monkeypatch.setattr(member_processes, "_PROGRAM", ("-c", PROGRAM))
    return lambda *all_do: [
        Member(does, k, ml_collections.ConfigDict({"does": does}), tmp_path / f"{does}{k}")
        for k, does in enumerate(all_do)
    ]


def outcomes(members, jobs=1):
    return {m.model: outcome for m, outcome in member_processes.train(members, None, jobs)}


def test_what_failed_or_is_complete_is_left_and_what_was_killed_is_tried_again(members):
    chosen = members("fail", "die", "succeed")
    expected = {"fail": {"failure": "it failed"}, "die": {"failure": "die"}}
    expected["succeed"] = {"cores": None}
    for begun in (1, 2):
        assert outcomes(chosen) == expected
        logs = {member.model: member.log.read_text() for member in chosen}
        assert logs == {"fail": "fail\nit failed\n", "die": "die\n" * begun, "succeed": "succeed\n"}
    assert [member.failure.exists() for member in chosen] == [True, False, False]


def test_each_job_has_cores_of_its_own(members, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 2, 5, 6, 7})
    assert outcomes(members("one"))["one"] == {"cores": None}
    both = outcomes(members("some", "others", "more"), jobs=2)
    assert {str(outcome["cores"]) for outcome in both.values()} == {"[1, 2]", "[5, 6]"}
    for jobs in (0, 6):
        with pytest.raises(ValueError, match=f"at most the 5 cores here, got {jobs}"):
            outcomes([], jobs)


@pytest.mark.parametrize("interrupt", [lambda _: os.kill(os.getpid(), signal.SIGTERM), next])
def test_an_interruption_reaches_all_processes_and_is_no_failure(members, monkeypatch, interrupt):
    """That of this process, and that of one of its own."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    chosen = members("wait", "succeed", "stop")
    runs = member_processes.train(chosen, None, jobs=2)
    assert next(runs)[0].model == "succeed"
    while not chosen[0].log.read_text():
        time.sleep(0.01)
    with pytest.raises(Interrupted, match="stopped by SIGTERM|stop2 was interrupted") as caught:
        interrupt(runs)
        next(runs)
    assert caught.value.exit_status == 128 + signal.SIGTERM
    assert chosen[0].log.read_text() == "wait\nis saved\n"
    assert not any(member.failure.exists() for member in chosen)


def test_leaving_early_ends_what_runs(members):
    runs = member_processes.train(members("succeed", "wait"), None)
    next(runs)
    runs.close()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
