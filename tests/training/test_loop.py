# SPDX-License-Identifier: Apache-2.0
import json
import random
import re
import shutil
import signal
import types

import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.training import evaluate, evaluation, export, loop, run, train
from homoode_tf.training.files.checkpoints import CheckpointError
from homoode_tf.training.files.lock import LockedError, exclusive
from homoode_tf.training.files.workdir import Workdir, WorkdirError
from homoode_tf.training.interruption import Interrupted
from homoode_tf.training.non_finite import NonFiniteError
from homoode_tf.training.step import StepError
from tests import slow
from tests.malformed import commands
from tests.training import fakes
from tests.training.runs import (
    MEASURED,
    assert_same_run,
    lines,
)

FIELDS = [
    "dataset",
    "model",
    "parameters",
    "precision",
    "initial_point_parameters",
    "steps",
    "examples_per_second",
    "seconds",
    "validation_accuracy",
    "test_accuracy",
    "test_loss",
    "test_examples",
    "class_names",
    "nfe_forward",
    "nfe_backward",
    "peak_memory_mb",
]

pytestmark = pytest.mark.usefixtures("use_fakes")


def interrupt_at(monkeypatch, call):
    """Asks for a stop at the `call`-th time that the run looks for one."""
    calls = {"made": 0}

    def check(_):
        calls["made"] += 1
        if calls["made"] == call:
            raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr(loop.Interruption, "check", check)


def test_the_result_and_what_a_run_leaves(uninterrupted):
    workdir, result = uninterrupted
    assert list(result) == FIELDS
    assert Workdir(workdir).read_result() == result
    assert (result["dataset"], result["steps"], result["test_examples"]) == ("fake", 20, 21)
    assert (result["parameters"], result["initial_point_parameters"]) == (251, 8)
    assert (result["nfe_forward"], result["nfe_backward"]) == (14.0, 20.0)
    assert result["test_accuracy"] > 0.5
    assert all(result[name] > 0 for name in MEASURED)
    assert Workdir(workdir).read_config() == fakes.config().to_dict()
    assert (workdir / "saved_model").is_dir()


def test_a_run_says_first_what_it_is_and_then_what_it_does(tmp_path, capsys, monkeypatch):
    said = []
    monkeypatch.setattr(loop.Progress, "doing", lambda _, what: said.append(what))
    train(fakes.config(epochs=1), tmp_path, strategy="one_device")
    first = capsys.readouterr().out.splitlines()[0]
    assert first == (
        "data fake (40 images, 4x4x1), model SimpleNamespace (251 + 8 parameters), "
        f"device 1 CPU, precision float32, workdir {tmp_path}"
    )
    said = [what for what in said if what]
    assert said[0] == "compiling" and said[-1] == "exporting"
    assert re.fullmatch(r"validation 1/\d+, compiling", said[1])
    assert re.fullmatch(r"test (\d+)/\1", said[-2])


def test_its_events_are_scalars_pictures_and_hyperparameters(uninterrupted):
    events = uninterrupted[0] / "events"

    def tags(folder):
        return {
            value.tag
            for file in folder.glob("*.tfevents.*")
            for event in tf.compat.v1.train.summary_iterator(str(file))
            for value in event.summary.value
        }

    assert {"loss", "accuracy", "nfe_forward", "learning_rate"} <= tags(events / "train")
    pictures = {"samples", "confusion_matrix"}
    assert tags(events / "validation") == {"loss", "accuracy", *pictures}
    assert tags(events) == {"_hparams_/session_start_info"}


def test_metrics_have_one_line_a_logged_step(uninterrupted):
    written = lines(uninterrupted[0])
    assert [line["step"] for line in written] == [2, 4, 5, 6, 8, 10, 12, 14, 15, 16, 18, 20]
    assert [line["step"] for line in written if "validation_accuracy" in line] == [5, 10, 15, 20]
    assert all(np.isfinite(list(line.values())).all() for line in written)


def test_a_line_holds_the_means_since_the_line_before(tmp_path, uninterrupted):
    train(fakes.config(log_every_steps=1), tmp_path, strategy="one_device")
    by_step = {line["step"]: line for line in lines(tmp_path)}
    last = 0
    for line in lines(uninterrupted[0]):
        steps = range(last + 1, line["step"] + 1)
        for name in ("loss", "accuracy", "added_loss"):
            expected = np.mean([by_step[step][name] for step in steps])
            assert line[name] == pytest.approx(expected, rel=1e-5)
        last = line["step"]


def test_the_best_checkpoint_is_the_tested_one(uninterrupted):
    workdir, result = uninterrupted
    best = max(line.get("validation_accuracy", 0) for line in lines(workdir))
    assert result["validation_accuracy"] == best


def test_a_complete_run_says_so_and_does_nothing(uninterrupted, capsys, monkeypatch):
    workdir, result = uninterrupted
    monkeypatch.setattr(loop, "Run", None)
    assert train(fakes.config(), workdir) == result
    assert "is complete: fake, 20 steps" in capsys.readouterr().out


# Looks for a stop: once before each of 20 steps, and twice in each validation (after steps 5,
# 10, 15, 20), and three times in the test: 20 + 4 * 2 + 3.
@pytest.mark.parametrize("call", [7, *map(slow, (1, 2, 4, 6, 8, 28, 29, 31))])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, monkeypatch, uninterrupted, call):
    interrupt_at(monkeypatch, call)
    with pytest.raises(Interrupted) as caught:
        train(fakes.config(), tmp_path, strategy="one_device")
    assert caught.value.exit_status == 143
    assert not (tmp_path / "result.json").exists()
    interrupt_at(monkeypatch, None)
    result = train(fakes.config(), tmp_path, strategy="one_device")
    assert_same_run(tmp_path, result, uninterrupted)


@pytest.mark.slow
def test_a_run_interrupted_at_every_step_equals_an_uninterrupted_one(
    tmp_path, monkeypatch, uninterrupted
):
    interrupt_at(monkeypatch, 3)
    for _ in range(30):
        try:
            result = train(fakes.config(), tmp_path, strategy="one_device")
            break
        except Interrupted:
            interrupt_at(monkeypatch, 4)
    assert_same_run(tmp_path, result, uninterrupted)


@pytest.mark.slow
def test_a_run_with_averaged_weights_resumes(tmp_path, monkeypatch):
    config = fakes.config(
        weight_averaging__momentum=0.8, weight_averaging__start_fraction=0.3, label_smoothing=0.1
    )
    reference = tmp_path / "a", train(config, tmp_path / "a", strategy="one_device")
    interrupt_at(monkeypatch, 14)
    with pytest.raises(Interrupted):
        train(config, tmp_path / "b", strategy="one_device")
    interrupt_at(monkeypatch, None)
    assert_same_run(tmp_path / "b", train(config, tmp_path / "b", strategy="one_device"), reference)


def test_a_damaged_checkpoint_costs_some_steps_and_nothing_else(
    tmp_path, monkeypatch, uninterrupted
):
    interrupt_at(monkeypatch, 12)
    with pytest.raises(Interrupted):
        train(fakes.config(), tmp_path, strategy="one_device")
    newest = sorted((tmp_path / "checkpoints").iterdir())[-1]
    (newest / "state.index").write_bytes(b"garbage")
    interrupt_at(monkeypatch, None)
    result = train(fakes.config(), tmp_path, strategy="one_device")
    assert_same_run(tmp_path, result, uninterrupted)


@pytest.mark.slow
def test_two_replicas_resume(tmp_path, monkeypatch):
    reference = tmp_path / "a", train(fakes.config(), tmp_path / "a", strategy="mirrored")
    interrupt_at(monkeypatch, 9)
    with pytest.raises(Interrupted):
        train(fakes.config(), tmp_path / "b", strategy="mirrored")
    interrupt_at(monkeypatch, None)
    result = train(fakes.config(), tmp_path / "b", strategy="mirrored")
    # Batch norm's moments are averaged at one moment more, and so rounded once more.
    assert result["test_loss"] == pytest.approx(reference[1]["test_loss"], rel=1e-6)
    assert result["test_accuracy"] == reference[1]["test_accuracy"]


def test_random_numbers_drawn_while_loading_data_change_nothing(
    tmp_path, monkeypatch, uninterrupted
):
    def load(*_, **__):
        random.random()
        np.random.random()
        return fakes.FakeImages()

    monkeypatch.setattr(run.data, "load", load)
    result = train(fakes.config(), tmp_path, strategy="one_device")
    assert_same_run(tmp_path, result, uninterrupted)


def test_a_damaged_result_is_named(tmp_path):
    Workdir(tmp_path).claim(fakes.config())
    (tmp_path / "result.json").write_text('{"dataset": "fake"}')
    with pytest.raises(WorkdirError, match=r"result\.json is damaged .*'steps'.*Remove it"):
        train(fakes.config(), tmp_path)


def test_another_config_is_refused(uninterrupted):
    with pytest.raises(WorkdirError, match="seed is 1 there and 2 here"):
        train(fakes.config(seed=2), uninterrupted[0])


def test_a_workdir_that_another_run_used_meanwhile_is_refused(tmp_path, monkeypatch):
    """Between the first look and the lock."""
    build = loop.Run

    def build_late(*arguments):
        monkeypatch.setattr(loop, "Run", build)
        interrupt_at(monkeypatch, 4)
        with pytest.raises(Interrupted):
            train(fakes.config(seed=2), tmp_path)
        return build(*arguments)

    monkeypatch.setattr(loop, "Run", build_late)
    with pytest.raises(WorkdirError, match="seed is 2 there and 1 here"):
        train(fakes.config(), tmp_path)
    assert Workdir(tmp_path).read_config()["seed"] == 2


@pytest.fixture
def copy(uninterrupted, tmp_path):
    """A copy of a whole run, for a test to damage."""
    return shutil.copytree(uninterrupted[0], tmp_path / "copy")


def test_checkpoints_know_their_config(copy, uninterrupted):
    for name in ("config.json", "result.json"):
        (copy / name).unlink()
    with pytest.raises(CheckpointError, match="was made by another config"):
        train(fakes.config(seed=2), copy, strategy="one_device")
    assert not (copy / "config.json").exists()
    result = train(fakes.config(), copy, strategy="one_device")
    assert_same_run(copy, result, uninterrupted)


def test_checkpoints_that_do_not_know_their_config_are_taken(copy, uninterrupted):
    (copy / "result.json").unlink()
    for manifest in copy.glob("checkpoints/*/manifest.json"):
        values = json.loads(manifest.read_text())
        del values["config"], values["sha256"]
        manifest.write_text(json.dumps(values))
    assert_same_run(copy, train(fakes.config(), copy, strategy="one_device"), uninterrupted)


def test_a_damaged_best_checkpoint_costs_no_saved_model(tmp_path):
    config = fakes.config(epochs=2, checkpoint_every_steps=5)
    train(config, tmp_path)

    def rank(path):
        accuracy = json.loads((path / "manifest.json").read_text())["validation_accuracy"]
        return accuracy, path.name

    best = max(tmp_path.glob("checkpoints/step-*"), key=rank)
    (best / "state.index").write_bytes(b"garbage")
    weights = tmp_path / "saved_model" / "1" / "model.weights.h5"
    before = weights.read_bytes()
    for mode in (export, evaluate):
        with pytest.raises(CheckpointError, match=f"{best.name} is damaged.* --second_best"):
            mode(config, tmp_path)
    assert weights.read_bytes() == before
    export(config, tmp_path, second_best=True)
    assert weights.read_bytes() != before


def test_a_bad_config_leaves_the_workdir_free(tmp_path):
    with pytest.raises(ValueError, match="config.batch_size"):
        train(fakes.config(batch_size=1000), tmp_path)
    train(fakes.config(epochs=1), tmp_path)


def test_a_diverging_run_stops_and_keeps_the_good_checkpoints(tmp_path, monkeypatch):
    def poison(state):
        if state.step == 9:
            kernel = state.model.logits.kernel
            kernel.assign(kernel * np.nan)

    fakes.after_each_step(monkeypatch.setattr, poison)
    with pytest.raises(NonFiniteError, match="non-finite at step 10"):
        train(fakes.config(), tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir())[-1] == "step-00000009"


def lose_the_loss(monkeypatch):
    """Makes the loss of every evaluation NaN."""
    lost = lambda labels, _: tf.fill(tf.shape(labels), np.nan)  # noqa: E731
    monkeypatch.setattr(evaluation, "cross_entropy", lost)


def test_a_loss_on_test_that_is_not_finite_completes_nothing(tmp_path, monkeypatch):
    interrupt_at(monkeypatch, 29)
    with pytest.raises(Interrupted):
        train(fakes.config(), tmp_path)
    interrupt_at(monkeypatch, None)
    lose_the_loss(monkeypatch)
    with pytest.raises(NonFiniteError, match="loss on test is nan"):
        train(fakes.config(), tmp_path)
    assert not (tmp_path / "result.json").exists()
    with pytest.raises(NonFiniteError, match="loss on validation is nan"):
        evaluate(fakes.config(), tmp_path)


@pytest.mark.parametrize("failure", [NonFiniteError, StepError])
@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_a_validation_that_fails_is_left_out_where_steps_are(policy, failure):
    def evaluate(split, _):
        raise failure(f"the evaluation on {split} failed")

    run = types.SimpleNamespace(
        evaluator=types.SimpleNamespace(evaluate=evaluate),
        settings=fakes.settings(non_finite=policy),
    )
    parts = run, loop.Interruption(), loop.Progress(1, quiet=True)
    if policy == "skip":
        assert loop._validate(*parts) is None
    else:
        with pytest.raises(failure, match="on validation failed"):
            loop._validate(*parts)


def skipping(monkeypatch, is_bad):
    """Steps of which those are left out whose number `is_bad` says."""

    def make(state, *_):
        def step(_):
            state.step.assign_add(1)
            bad = is_bad(int(state.step))
            finite = tf.constant(not bad)
            state.non_finite_steps.count(state.step.value(), finite, tf.constant(True))
            for sums in () if bad else (state.recent_metrics, state.epoch_metrics):
                sums.add([1.0, 8.0, 8.0, 4.0, 0.0, 14.0, 20.0])

        return step

    monkeypatch.setattr(loop, "make_train_step", make)


def test_a_run_that_left_all_steps_out_fails(tmp_path, monkeypatch):
    skipping(monkeypatch, lambda _: True)
    with pytest.raises(NonFiniteError, match="in all 20 steps of the run, so that nothing was"):
        train(fakes.config(non_finite="skip"), tmp_path, strategy="one_device")
    assert not (tmp_path / "result.json").exists()
    assert all(line["loss"] is None and line["nfe_forward"] is None for line in lines(tmp_path))


def test_steps_left_out_are_told_in_the_result(tmp_path, monkeypatch):
    skipping(monkeypatch, lambda step: step > 15)  # the whole last epoch
    result = train(fakes.config(non_finite="skip"), tmp_path, strategy="one_device")
    assert (result["skipped_steps"], result["nfe_forward"]) == (5, None)
    assert Workdir(tmp_path).read_result() == result
    assert [line["loss"] is None for line in lines(tmp_path)][-2:] == [True, True]


def test_a_failing_step_is_named(tmp_path, monkeypatch):
    def fail(*_):
        raise tf.errors.InvalidArgumentError(None, None, "the state is not finite at time 0.5")

    monkeypatch.setattr(loop, "make_train_step", lambda *_: fail)
    with pytest.raises(StepError, match="step 1 failed: the state is not finite at time 0.5"):
        train(fakes.config(), tmp_path)


def test_evaluating_a_run_gives_its_result_again(uninterrupted, capsys):
    workdir, result = uninterrupted
    before = sorted(path.name for path in workdir.rglob("*"))
    again = evaluate(fakes.config(), workdir)
    for name in ("validation_accuracy", "test_accuracy", "test_loss", "test_examples"):
        assert again[name] == pytest.approx(result[name], rel=1e-6)
    assert f"test accuracy {result['test_accuracy']:.2%} (21 images)" in capsys.readouterr().out
    assert sorted(path.name for path in workdir.rglob("*")) == before


def test_exporting_a_run_again(uninterrupted):
    workdir, _ = uninterrupted
    (weights,) = (workdir / "saved_model" / "1").iterdir()
    weights.unlink()
    assert export(fakes.config(), workdir) == workdir / "saved_model"
    assert weights.exists()


@pytest.mark.parametrize("mode", [evaluate, export])
def test_other_modes_say_what_is_missing(tmp_path, monkeypatch, mode):
    with pytest.raises(WorkdirError, match="holds no run"):
        mode(fakes.config(), tmp_path)
    interrupt_at(monkeypatch, 3)
    with pytest.raises(Interrupted):
        train(fakes.config(), tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint that was evaluated"):
        mode(fakes.config(), tmp_path)


def wait_for(process, text):
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"no {text!r} in the output; the errors: {process.stderr.read()}")


@pytest.mark.slow
def test_kill_9_and_signals_lose_nothing(tmp_path, uninterrupted, capsys):
    """One run goes on after each; a signal saves a checkpoint first."""
    signals = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
    for least, (number, status) in zip((4, 8, 12), signals.items(), strict=True):
        process = commands.Started(["-m", "tests.training.run_fakes", tmp_path, 0.1])
        wait_for(process, f"made step {least}")
        process.send_signal(number)
        _, errors = process.communicate()
        assert process.returncode == status and not (tmp_path / "result.json").exists()
        if number != signal.SIGKILL:
            last = errors.strip().splitlines()[-1]
            assert f"stopped by {number.name}; step " in last and "is saved" in last
            step = int(last.split("step ")[1].split()[0])
            assert (tmp_path / "checkpoints" / f"step-{step:08d}" / "manifest.json").exists()
            assert step >= least
    result = train(fakes.config(), tmp_path, strategy="one_device")
    assert "Resuming" in capsys.readouterr().out
    assert_same_run(tmp_path, result, uninterrupted)


@pytest.mark.parametrize("do", [train, export])
def test_a_workdir_in_use_is_left_alone(tmp_path, do, uninterrupted):
    workdir = tmp_path / "run"
    if do is export:
        shutil.copytree(uninterrupted[0], workdir)
    workdir.mkdir(exist_ok=True)
    before = sorted(path.name for path in workdir.iterdir())
    with exclusive(workdir), pytest.raises(LockedError, match="in use by process"):
        do(fakes.config(), workdir)
    left = {path.name for path in workdir.iterdir()} - {".lock"}
    assert sorted(left) == [name for name in before if name != ".lock"]


def test_a_complete_run_is_that_of_its_own_config_even_without_config_json(uninterrupted, tmp_path):
    whole, result = uninterrupted
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    before = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").unlink()
    with pytest.raises(WorkdirError, match="another config"):
        train(fakes.config(seed=5), tmp_path, strategy="one_device")
    assert not (tmp_path / "config.json").exists()
    assert train(fakes.config(), tmp_path, strategy="one_device") == result
    assert json.loads((tmp_path / "config.json").read_text()) == before


@pytest.mark.parametrize("named", ["claim", "write_data"])
@pytest.mark.parametrize("error", [SystemExit, OSError])
def test_a_run_that_ended_in_its_first_moments_begins_again(tmp_path, monkeypatch, named, error):
    def fail(*_):
        raise error("ended")

    monkeypatch.setattr(Workdir, named, fail)
    with pytest.raises(error, match="ended"):
        train(fakes.config(epochs=1), tmp_path, strategy="one_device")
    monkeypatch.undo()
    fakes.install(monkeypatch.setattr)
    train(fakes.config(epochs=1), tmp_path, strategy="one_device")


def test_epochs_can_be_raised_again_and_again(uninterrupted, tmp_path, monkeypatch):
    """Of a run that was stopped, too; the best checkpoint may be that of the shortest."""
    whole, _ = uninterrupted
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    best = Workdir(tmp_path).read_result()["validation_accuracy"]
    interrupt_at(monkeypatch, 3)
    with pytest.raises(Interrupted):
        train(fakes.config(epochs=5), tmp_path, strategy="one_device")
    monkeypatch.undo()
    fakes.install(monkeypatch.setattr)
    assert Workdir(tmp_path).read_result() is None
    config = fakes.config(epochs=6)
    result = train(config, tmp_path, strategy="one_device")
    assert result["steps"] == 30 and result["validation_accuracy"] >= best
    assert (result["nfe_forward"], result["nfe_backward"]) == (14.0, 20.0)
    assert train(config, tmp_path) == result  # which is complete
    again = evaluate(config, tmp_path)
    assert again["test_accuracy"] == pytest.approx(result["test_accuracy"])
    assert Workdir(tmp_path).read_config() == config.to_dict()
    steps = [line["step"] for line in lines(tmp_path)]
    assert steps == sorted(set(steps)) and steps[-1] == 30
    for changes, message in (
        ({"epochs": 4}, "epochs is 6 there and 4 here"),
        ({"epochs": 7, "seed": 2}, "seed is 1 there and 2 here"),
    ):
        with pytest.raises(WorkdirError, match=message):
            train(fakes.config(**changes), tmp_path)
    with pytest.raises(WorkdirError, match="epochs is 6 there and 7 here"):
        evaluate(fakes.config(epochs=7), tmp_path)
