# SPDX-License-Identifier: Apache-2.0
"""Processes that end, fail, are killed and are interrupted, with a program that trains nothing."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import keras
import ml_collections
import pytest

from homoode_tf.compare import Member
from homoode_tf.data import catalog
from homoode_tf.report.compare import member_processes, train_member
from homoode_tf.training.files.workdir import WorkdirError
from homoode_tf.training.interruption import Interrupted

RESULT = {"validation_accuracy": 0.5, "test_accuracy": 0.5, "test_loss": 1.0}

PROGRAM = """
import json, os, pathlib, signal, sys, time

def stop(*_):
    print("is saved", flush=True)
    sys.exit(128 + signal.SIGTERM)

signal.signal(signal.SIGTERM, stop)
task = json.loads(sys.argv[1])
does = task["config"]["does"]
print(does, flush=True)
if does == "fail":
    sys.exit("it failed")
if does == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if does == "stop":
    stop()
if does == "wait":
    time.sleep(60)
result = {"cores": task["cores"], "recipe": task["recipe"], **RESULT}
for name, values in (("config", task["config"]), ("result", result)):
    (pathlib.Path(task["workdir"]) / f"{name}.json").write_text(json.dumps(values))
"""
PROGRAM = PROGRAM.replace("RESULT", repr(RESULT))


@pytest.fixture
def members(tmp_path, monkeypatch):
    monkeypatch.setattr(member_processes, "_PROGRAM", ("-c", PROGRAM))
    return lambda *all_do: [
        Member(does, k, ml_collections.ConfigDict({"does": does}), tmp_path / f"{does}{k}")
        for k, does in enumerate(all_do)
    ]


def outcomes(members, jobs=1, recipe=None):
    return {m.model: outcome for m, outcome in member_processes.train(members, None, jobs, recipe)}


def test_what_is_complete_is_left_and_what_failed_is_tried_again(members):
    chosen = members("fail", "die", "succeed")
    expected = {"fail": {"failure": "it failed"}, "die": {"failure": "die"}}
    expected["succeed"] = {"cores": None, "recipe": "own.py", **RESULT}
    for begun in (1, 2):
        assert outcomes(chosen, recipe="own.py") == expected
        assert [member.outcome() for member in chosen] == list(expected.values())
        logs = [member.log.read_text() for member in chosen]
        assert logs == ["fail\nit failed\n", "die\n", "succeed\n"]
        kept = [member.log.with_name("log.previous.txt").exists() for member in chosen]
        assert kept == [begun > 1, begun > 1, False]  # one attempt more, however many there were
    succeeds = Member("fail", 0, ml_collections.ConfigDict({"does": "succeed"}), chosen[0].workdir)
    assert outcomes([succeeds])["fail"]["test_loss"] == 1.0
    assert not succeeds.failure.exists()
    succeeds.failure.write_text("{}")  # of an attempt while an earlier one still trained
    assert outcomes([succeeds])["fail"]["test_loss"] == 1.0
    assert not succeeds.failure.exists()


@pytest.mark.parametrize("is_complete", [True, False])
def test_the_folder_of_another_config_is_refused_before_anything_runs(members, is_complete):
    new, old = members("wait", "succeed")
    outcomes([old])
    if not is_complete:
        (old.workdir / "result.json").unlink()
    before = {path: path.read_bytes() for path in old.workdir.iterdir()}
    changed = Member("other", 1, ml_collections.ConfigDict({"does": "fail"}), old.workdir)
    for look in (lambda: outcomes([new, changed]), changed.outcome):
        with pytest.raises(WorkdirError, match='does is "succeed" there and "fail" here'):
            look()
    assert {path: path.read_bytes() for path in old.workdir.iterdir()} == before
    assert not new.workdir.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "NaN"])
@pytest.mark.parametrize("name", RESULT)
def test_a_result_without_a_finite_figure_is_a_failure(members, name, value):
    (member,) = members("succeed")
    outcomes([member])
    (member.workdir / "result.json").write_text(json.dumps({**RESULT, name: value}))
    ((_, outcome),) = member_processes.train([member], None)
    assert outcome == {"failure": f"it ended with {name} = {value}, which is no finite number"}


RECIPE = """
import keras
from ml_collections import ConfigDict
from homoode_tf import data

data.register(data.CatalogEntry("compare_own", (8, 8, 1), 10, (0.3,), (0.4,)))

@keras.saving.register_keras_serializable(package="compare")
class Own(keras.layers.Layer):
    pass

def get_config(argument):
    return ConfigDict({"argument": argument})
"""


def test_what_the_recipe_registers_is_known_to_the_process_of_a_member(tmp_path, monkeypatch):
    recipe = tmp_path / "own.py"
    recipe.write_text(RECIPE)
    seen = []

    def train(config, *arguments):
        own = keras.saving.get_registered_object("compare>Own")
        seen.append((config.to_dict(), own.__name__, catalog.names()[-1], *arguments))

    monkeypatch.setattr(train_member.training, "train", train)
    monkeypatch.setattr(catalog, "_CATALOG", dict(catalog._CATALOG))
    task = {"config": {"a": 1}, "workdir": "w", "data_dir": None, "cores": None}
    train_member.main([json.dumps({**task, "recipe": f"{recipe}:x"})])
    assert seen == [({"a": 1}, "Own", "compare_own", "w", None, "one_device")]


def test_each_job_has_cores_of_its_own(members, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 2, 5, 6, 7})
    assert outcomes(members("one"))["one"]["cores"] is None
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


ORPHAN = """
import signal, sys, time
from homoode_tf.report.compare.train_member import end_with_parent

def stop(*_):
    print("is saved", flush=True)
    sys.exit()

signal.signal(signal.SIGTERM, stop)
end_with_parent()
print("trains", flush=True)
time.sleep(100)
"""
PARENT = """
import pathlib, sys
from homoode_tf.report.compare import member_processes
from homoode_tf.report.compare.experiment import Member

member_processes._PROGRAM = ("-c", sys.argv[1])
next(member_processes.train([Member("a", 0, {}, pathlib.Path("a"))], None))
"""


@pytest.mark.slow
def test_members_end_in_order_when_their_parent_is_killed(tmp_path):
    root = pathlib.Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    log, deadline = tmp_path / "a" / "log.txt", time.monotonic() + 120

    def wait_for(text):
        while not (log.exists() and text in log.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    command = [sys.executable, "-c", PARENT, ORPHAN]
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as parent:
        wait_for("trains")
        parent.kill()
    wait_for("is saved")


def test_leaving_early_ends_what_runs(members):
    runs = member_processes.train(members("succeed", "wait"), None)
    next(runs)
    runs.close()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
