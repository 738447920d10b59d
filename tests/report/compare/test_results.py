# SPDX-License-Identifier: Apache-2.0
import json
import math
import types

import numpy as np
import pytest
import scipy.stats

from homoode_tf.compare import Member
from homoode_tf.errors import UserError
from homoode_tf.report.compare import curves, differences, results

RESULT = {
    "nfe_forward": 7.0,
    "nfe_backward": 6.0,
    "peak_memory_mb": 900.0,
    "validation_accuracy": 0.9,
    "test_loss": 0.3,
    "seconds": 60.0,
    "examples_per_second": 320.0,
}
# Null where all steps were skipped.
_MEANS = ("nfe_forward", "nfe_backward", "peak_memory_mb", "seconds", "examples_per_second")
LINES = [
    {"step": 10, "epoch": 1, "nfe_forward": 13.0, "nfe_backward": 12.0},
    {"step": 40, "epoch": 2, "nfe_forward": 7.0, "nfe_backward": 6.0, "validation_accuracy": 0.9},
]


@pytest.fixture
def experiment(tmp_path):
    """Model "a" with two results, "b" with one, a failure and a run not begun."""
    members = []
    for model, seed in (("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2)):
        workdir = tmp_path / model / str(seed)
        workdir.mkdir(parents=True)
        members.append(Member(model, seed, {"seed": seed}, workdir))
        (workdir / "config.json").write_text(json.dumps({"seed": seed}))
    for member, accuracy in zip(members[:3], (0.9, 0.8, 0.7), strict=True):
        result = json.dumps({**RESULT, "test_accuracy": accuracy})
        (member.workdir / "result.json").write_text(result)
        lines = "".join(json.dumps(line) + "\n" for line in LINES)
        (member.workdir / "metrics.jsonl").write_text(lines + '{"step": 50, "ep')
    (members[3].workdir / "failure.json").write_text('{"failure": "diverged"}')
    return types.SimpleNamespace(
        dataset="digits",
        model_names=("a", "b"),
        members=members,
        parameters={"a": (1000, 8), "b": (1004, 0)},
        config_of=lambda name: types.SimpleNamespace(batch_size=32),
    )


def test_means_and_deviations_over_seeds(experiment):
    a, b = results.summarise(experiment)["models"].values()
    assert a["test_accuracies"] == [0.9, 0.8]
    assert (a["mean"], a["deviation"]) == pytest.approx((0.85, math.sqrt(0.005)))
    assert (b["mean"], b["deviation"], b["failures"]) == (0.7, None, ["diverged"])
    assert a["seconds_per_step"] == pytest.approx(0.1)


def test_evaluations_are_means_over_steps_and_not_over_lines(experiment):
    a = results.summarise(experiment)["models"]["a"]
    assert a["nfe_forward_whole"] == pytest.approx((10 * 13 + 30 * 7) / 40)
    assert a["nfe_forward"] == 7.0


def test_table(experiment):
    lines = results.markdown_table(results.summarise(experiment)).splitlines()
    assert (
        lines[2] == "| a | 85.00 ± 7.07 | 90.00 | 1,000 (+ 8) | 8.5 + 7.5 | 0.100 | 900 | 2 | 0 |"
    )
    assert lines[3] == "| b | 70.00 | 90.00 | 1,004 (+ 0) | 8.5 + 7.5 | 0.100 | 900 | 1 | 1 |"


def test_differences_are_those_of_pairs():
    """Of SciPy: a paired t-test's interval."""
    random = np.random.default_rng(0)
    a, b = random.normal(0.9, 0.01, 5), random.normal(0.91, 0.01, 5)
    models = {"a": {"by_seed": dict(enumerate(a))}, "b": {"by_seed": dict(enumerate(b))}}
    models["one"] = {"by_seed": {3: 0.5}}
    models["none"] = {"by_seed": {9: 0.5}}
    found = differences.against({"models": models}, "a")
    assert found["a"] is None and found["none"] is None
    interval = scipy.stats.ttest_rel(b, a).confidence_interval(0.95)
    mean, half = found["b"]
    np.testing.assert_allclose([mean - half, mean + half], interval, rtol=1e-6)
    assert found["one"] == (pytest.approx(0.5 - a[3]), None)
    with pytest.raises(ValueError, match="--against must be one of a, b, one, none, got 'c'"):
        differences.against({"models": models}, "c")


def test_table_against_a_model(experiment):
    lines = results.markdown_table(results.summarise(experiment), "a").splitlines()
    assert "| against a (%) |" in lines[0]
    assert lines[2].startswith("| a | 85.00 ± 7.07 | – | 90.00 |")  # noqa: RUF001
    assert lines[3].startswith("| b | 70.00 | -20.00 | 90.00 |")


def test_a_model_without_any_result(experiment):
    for member in experiment.members:
        if member.model == "b":
            (member.workdir / "result.json").unlink(missing_ok=True)
            (member.workdir / "metrics.jsonl").unlink(missing_ok=True)
    text = results.markdown_table(results.summarise(experiment))
    assert "| b | – | – | 1,004 (+ 0) | – + – | – | – | 0 | 1 |" in text  # noqa: RUF001


def test_figure(experiment, tmp_path):
    curves.draw(tmp_path / "curves.png", results.summarise(experiment))
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_few_epochs_are_points_and_names_are_readable(experiment, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(curves.style, "mean_and_spread", lambda *_, **line: drawn.append(line))
    found = results.summarise(experiment)
    found["models"] = {"homoode_zero_z0": found["models"]["a"]}
    curves.draw(tmp_path / "curves.png", found)
    assert drawn == 3 * [{"label": "HomoODE zero z0", "marker": "o"}]
    lines = found["models"]["homoode_zero_z0"]["curves"][0]
    lines += [{**lines[-1], "step": 40 + n, "epoch": n} for n in range(3, 30)]
    curves.draw(tmp_path / "curves.png", found)
    assert drawn[3:] == 3 * [{"label": "HomoODE zero z0", "marker": ""}]


@pytest.fixture
def finished(tmp_path):
    """Makes the folder of a finished run."""

    def make(name, **changes):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        result = {**RESULT, "test_accuracy": 0.9, "dataset": "digits", "parameters": 1000}
        result = {**result, "initial_point_parameters": 8, **changes}
        (folder / "config.json").write_text(json.dumps({"dataset": "digits", "batch_size": 32}))
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
        return folder

    return make


def test_finished_runs_are_rows_by_their_folders_names(finished):
    found = results.of_runs([finished("first"), finished("other", examples_per_second=0.0)])
    assert found["dataset"] == "digits"
    lines = results.markdown_table(found).splitlines()
    assert lines[2] == "| first | 90.00 | 90.00 | 1,000 (+ 8) | 8.5 + 7.5 | 0.100 | 900 | 1 | 0 |"
    assert lines[3].startswith("| other |") and "| – | 900 |" in lines[3]  # noqa: RUF001
    found = results.of_runs([finished("a/run"), finished("b/run")])
    assert [name.rpartition("/")[2] for name in found["models"]] == ["run", "run"]


def test_runs_that_cannot_be_compared(finished, tmp_path):
    run = finished("run")
    with pytest.raises(ValueError, match="of different data sets .*: run of digits, b of mnist"):
        results.of_runs([run, finished("b", dataset="mnist")])
    (tmp_path / "link").symlink_to(run)
    for again in (run, run.parent / "b" / ".." / "run", tmp_path / "link"):
        with pytest.raises(ValueError, match="can be compared once only"):
            results.of_runs([run, again])
    with pytest.raises(ValueError, match="must be a folder, got an empty name"):
        results.of_runs([str(run), ""])
    with pytest.raises(ValueError, match="holds no run"):
        results.of_runs([run, tmp_path / "nowhere"])
    (run / "result.json").unlink()
    with pytest.raises(ValueError, match=r"holds no finished run: .*result\.json is missing"):
        results.of_runs([run])


def test_means_of_nothing_are_left_out(experiment):
    member = experiment.members[0]
    lines = [LINES[0], {**LINES[1], "nfe_forward": None, "nfe_backward": None}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (member.workdir / "metrics.jsonl").write_text(text)
    path = member.workdir / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "nfe_forward": None}))
    experiment.members = [member]
    summary = results.summarise(experiment)
    row = summary["models"]["a"]
    assert (row["nfe_forward"], row["nfe_forward_whole"]) == (None, 13.0)
    assert "13.0 + 12.0" in results.markdown_table(summary)
    assert curves._by_epoch(row["curves"], "nfe_forward", 1.0) == {1: [13.0]}


LINE = LINES[1]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics.jsonl", {"step": 8}, "epoch of step 8 must be an integer at least 0, got None"),
        ("metrics.jsonl", LINE | {"epoch": "x"}, "epoch of step 40 must be an integer"),
        ("metrics.jsonl", LINE | {"step": 0}, "step must be an integer at least 1, got 0"),
        ("metrics.jsonl", LINE | {"step": 10**30}, "step must be an integer at least 1"),
        ("metrics.jsonl", LINE | {"validation_accuracy": "x"}, "validation_accuracy of step 40"),
        *(
            ("metrics.jsonl", LINE | {name: value}, f"{name} of step 40 must be a number")
            for name in ("nfe_forward", "nfe_backward")
            for value in ("x", 10**400, -1)
        ),
        *(
            ("result.json", {name: value}, f"{name} must be a")
            for name in (*RESULT, "test_accuracy", "parameters", "dataset")
            for value in (None, [1])
            if name != "test_loss" and not (value is None and name in _MEANS)
        ),
        ("result.json", {"test_accuracy": "x"}, "test_accuracy must be a number"),
        ("config.json", {"batch_size": "x"}, "batch_size must be an integer at least 1, got 'x'"),
        ("config.json", {"seed": -1}, "seed must be an integer at least 0"),
    ],
)
def test_damaged_files_of_finished_runs_are_named(finished, file, content, message):
    run = finished("run")
    if file != "metrics.jsonl":
        content = json.loads((run / file).read_text()) | content
    (run / file).write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as error:
        results.of_runs([finished("other"), run])
    assert str(error.value).startswith(f"{run / file} cannot be used: ")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metrics.jsonl", {"step": 8}),
        ("result.json", RESULT | {"test_accuracy": 1, "seconds": "x"}),
    ],
)
def test_a_member_whose_files_are_damaged_counts_as_failed(experiment, file, content):
    path = experiment.members[0].workdir / file
    path.write_text(json.dumps(content))
    found = results.summarise(experiment)
    row = found["models"]["a"]
    assert row["test_accuracies"] == [0.8] and f"{path} cannot be used" in row["failures"][0]
    assert "| 1 | 1 |" in results.markdown_table(found).splitlines()[2]
