# SPDX-License-Identifier: Apache-2.0
"""The command as a user runs it, on a few steps of digits."""

import json
import signal
import time
import types

import pytest

from configs import compare_digits
from homoode_tf.errors import UserError
from homoode_tf.report.compare import command, member_processes
from tests.malformed import commands

CONFIG = """
from configs import compare_digits


def get_config():
    config = compare_digits.get_config()
    config.recipe.update({"batch_size": 200, "epochs": 8.0, "evaluate_every_epochs": 8})
    config.recipe.log_every_steps = 1
    config.recipe.model.update({"channels": 4, "head_channels": 6, "groups": 2})
    config.recipe.model.update({"solver": "midpoint", "num_steps": 1})
    config.seeds = (0,)
    for name in list(config.models):
        if name != "homoode":
            del config.models[name]
    return config
"""


def start(tmp_path):
    config = tmp_path / "compare.py"
    config.write_text(CONFIG)
    return commands.Started(
        [
            *("-m", "homoode_tf.compare", f"--config={config}"),
            *(f"--workdir={tmp_path / 'runs'}", f"--data_dir={tmp_path / 'data'}"),
        ],
        {"TF_CPP_MIN_LOG_LEVEL": "2"},
    )


@pytest.mark.slow
def test_trains_is_interrupted_resumes_and_reports(tmp_path):
    pytest.importorskip("matplotlib")
    runs = tmp_path / "runs"
    run = runs / "homoode" / "seed0"
    metrics = run / "metrics.jsonl"
    process = start(tmp_path)
    while not (metrics.exists() and metrics.read_text()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM; the same command goes on" in errors.splitlines()[-1]
    assert "is saved" in (run / "log.txt").read_text().splitlines()[-1]
    assert not (run / "failure.json").exists() and not (run / "result.json").exists()

    process = start(tmp_path)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    row = json.loads((runs / "results.json").read_text())["models"]["homoode"]
    assert len(row["test_accuracies"]) == 1 and not row["failures"]
    assert row["nfe_forward"] > 0 and row["nfe_backward"] > 0
    # No step was lost or made twice.
    steps = [line["step"] for line in row["curves"][0]]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) == 8 * 6
    table = (runs / "table.md").read_text()
    assert "| homoode |" in table and "[1/1] homoode, seed 0: test accuracy" in output
    assert output.endswith(f"{table}\n")
    assert (runs / "curves.png").exists()


@pytest.mark.parametrize("failed", [[], [1], [0, 2]])
def test_the_status_tells_whether_a_run_failed(tmp_path, monkeypatch, capsys, failed):
    pytest.importorskip("matplotlib")
    config = compare_digits.get_config()
    config.models = {"zeros": {"model": {"initial_point": "zeros"}}}
    config.seeds = (0, 1, 2)
    values = {"CONFIG": config, "WORKDIR": tmp_path, "DATA_DIR": None, "JOBS": 1}
    for name, value in {**values, "MODELS": None, "RUNS": None, "AGAINST": "zeros"}.items():
        flag = types.SimpleNamespace(value=value, name="config")
        monkeypatch.setattr(command, f"_{name}", flag)
    monkeypatch.setattr(command.config_flags, "get_config_filename", lambda _: "own.py:x")
    monkeypatch.setattr(command.config_flags, "get_override_values", lambda _: {})

    def train(members, data_dir, jobs, recipe, watch):
        assert (data_dir, jobs, recipe) == (None, 1, "own.py:x")
        for member in members:
            bad = member.seed in failed
            yield member, {"failure": "no data"} if bad else {"test_accuracy": 0.5}

    monkeypatch.setattr(member_processes, "train", train)
    if not failed:
        command.main()
    else:
        with pytest.raises(UserError) as caught:
            command.main()
        named = "; ".join(f"zeros, seed {seed}" for seed in failed)
        assert str(caught.value).startswith(f"{len(failed)} of 3 runs failed: {named}. log.txt in")
    assert "| zeros |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("recipe", "changes", "folder"),
    [
        ("configs/compare_digits.py", {}, "runs/compare_digits"),
        ("configs/compare_cifar10_ablation.py", {}, "runs/compare_cifar10_ablation"),
        ("mine.py", {"recipe.epochs": 1.0}, "runs/compare_mine-recipe.epochs=1"),
        ("mine.py:a/b", {}, "runs/compare_mine_a_b"),
    ],
)
def test_two_configs_have_two_folders(recipe, changes, folder):
    assert command.default_workdir(recipe, changes).as_posix() == folder


def test_errors_end_as_one_line(tmp_path):
    (tmp_path / "compare.py").write_text(CONFIG)
    flags = [f"--config={tmp_path / 'compare.py'}", f"--workdir={tmp_path / 'runs'}", "--jobs=0"]
    done = commands.run(["homoode_tf/compare.py", *flags])
    refused = commands.run(["homoode_tf/compare.py", *flags[:2], "--against=nothing"])
    assert "--against must be one of" in refused.errors and not (tmp_path / "runs").exists()
    assert done.status == 1
    assert "jobs must be at least 1 and at most" in done.errors.splitlines()[-1]


def test_runs_are_given_one_after_the_other(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    flags = ["--runs", tmp_path / "a", tmp_path / "b", f"--workdir={tmp_path / 'report'}"]
    done = commands.run(["homoode_tf/compare.py", *map(str, flags)])
    assert done.status == 1
    assert done.errors == (
        f"compare.py: workdir {tmp_path / 'a'} holds no run: {tmp_path / 'a'}/config.json is "
        "missing.\n"
    )
