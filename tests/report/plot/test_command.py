# SPDX-License-Identifier: Apache-2.0
"""`python -m homoode_tf.plot` on runs: of the digits, and of the fakes, which solve no ODE."""

import json
import re
import shutil
import sys

import pytest

pytest.importorskip("matplotlib", reason="the figures need pip install -e '.[plots]'")

from configs import digits
from homoode_tf import training
from homoode_tf.report.plot import run_report
from homoode_tf.report.plot.command import main
from homoode_tf.solvers import SolverError
from homoode_tf.training import run as run_module
from tests.report.plot.pictures import check_picture
from tests.training import fakes

HISTORY_FIGURES = ["learning_curves.png", "nfe.png"]
SOLVE_FIGURES = ["solve.png", "trajectories.png"]
CONFUSION = "confusion_matrix.png"
FIGURES = [*HISTORY_FIGURES, *SOLVE_FIGURES, CONFUSION]
ALL = [*HISTORY_FIGURES, CONFUSION]


def content(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def check_figures(folder, names):
    assert {path.name for path in folder.iterdir()} == {*names, "diagnostics.json"}
    for name in names:
        check_picture(folder / name)
    # NaN and infinities are constants that JSON does not know.
    return json.loads((folder / "diagnostics.json").read_text(), parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """Two epochs of a small model on the digits; the export, which plots do not need, left out."""
    config = digits.get_config()
    config.update_from_flattened_dict(
        {
            "epochs": 2.0,
            "batch_size": 128,
            "model.channels": 4,
            "model.head_channels": 8,
            "model.groups": 2,
            "model.solver": "heun_euler",
            "model.rtol": 0.05,
            "model.atol": 0.05,
            "log_every_steps": 2,
            "weight_averaging.momentum": 0.5,
        }
    )
    workdir = tmp_path_factory.mktemp("runs") / "digits"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module.export, "save", lambda _, path, *__: path.mkdir())
        training.train(config, workdir, workdir.parent / "data")
    return workdir


@pytest.fixture(scope="module")
def trained_fakes(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "fake"
    with pytest.MonkeyPatch.context() as patch:
        fakes.install(patch.setattr)
        training.train(fakes.config(weight_averaging__momentum=0.95), workdir)
    return workdir


@pytest.fixture
def fake_run(trained_fakes, tmp_path, monkeypatch):
    """A copy, for a test to damage."""
    fakes.install(monkeypatch.setattr)
    shutil.copytree(trained_fakes, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.slow
def test_a_run_of_digits(digits_run, capsys):
    before = content(digits_run)
    data_dir = str(digits_run.parent / "data")
    assert main(["--workdir", str(digits_run), "--data_dir", data_dir, "--images", "3"]) == 0
    figures = digits_run / "figures"
    found = check_figures(figures, FIGURES)
    output = capsys.readouterr()
    assert output.err == ""
    assert f"Written to {figures}: {', '.join([*FIGURES, 'diagnostics.json'])}" in output.out

    result = json.loads((digits_run / "result.json").read_text())
    assert found["confusion_matrix"]["accuracy"] == pytest.approx(result["test_accuracy"])
    assert sum(map(sum, found["confusion_matrix"]["matrix"])) == 360
    assert found["complete"] and found["last_logged_step"] == found["checkpoint_step"] == 20
    assert found["learning_curves"]["loss"]["steps"] == list(range(2, 21, 2))
    assert found["learning_curves"]["validation_loss"]["steps"] == [10, 20]
    assert found["nfe"]["nfe_backward"]["values"][-1] > 0
    assert found["solve"]["step_times"][-1] == 1
    assert found["solve"]["images"] == 64
    assert min(found["solve"]["residuals"]["0"]) > 0
    assert found["trajectories"]["shared_start"]
    for name in ("labels", "steps", "curves"):
        assert len(found["trajectories"][name]) == 3
    after = content(digits_run)
    assert {path: after[path] for path in after if figures not in path.parents} == before


def test_a_layer_that_solves_no_ode_has_no_figures_of_its_solve(fake_run, capsys):
    assert main(["--workdir", str(fake_run)]) == 0
    found = check_figures(fake_run / "figures", ALL)
    output = capsys.readouterr()
    assert "solve.png and trajectories.png are left out: the implicit layer is a" in output.out
    assert output.err == ""
    # Of the averaged weights, as the run itself is judged.
    result = json.loads((fake_run / "result.json").read_text())
    assert found["confusion_matrix"]["accuracy"] == pytest.approx(result["test_accuracy"])


def test_figures_go_where_they_are_wanted(fake_run, tmp_path):
    before = content(fake_run)
    output = tmp_path / "else" / "where"
    assert main(["--workdir", str(fake_run), "--output", str(output)]) == 0
    check_figures(output, ALL)
    assert content(fake_run) == before


NO_CHECKPOINT = "solve.png .* confusion_matrix.png could not be drawn: .* no checkpoint that was"
NO_HISTORY = "learning_curves.png and nfe.png could not be drawn: .* no step was logged yet"


@pytest.mark.parametrize(
    ("name", "text", "figures", "message"),
    [
        ("checkpoints", None, HISTORY_FIGURES, NO_CHECKPOINT),
        ("metrics.jsonl", None, [CONFUSION], NO_HISTORY),
        ("metrics.jsonl", "", [CONFUSION], NO_HISTORY),
        ("metrics.jsonl", '{"step": 2, "lo', [CONFUSION], NO_HISTORY),
    ],
)
def test_what_is_missing_costs_its_figures_alone(fake_run, capsys, name, text, figures, message):
    path = fake_run / name
    path.rename(path.with_suffix(".away"))
    if text is not None:
        path.write_text(text)
    assert main(["--workdir", str(fake_run)]) == 1
    check_figures(fake_run / "figures", figures)
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1


def replace(path, old, new):
    text = re.sub(r',\s*"sha256": "\w+"', "", path.read_text())
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"fake"', '"mnist"', "python -m homoode_tf.data mnist"),
        ("dropout_rate", "rate_of_another_version", "has no field 'rate_of_another_version'"),
    ],
)
def test_data_or_a_config_that_cannot_be_used(fake_run, monkeypatch, capsys, old, new, message):
    monkeypatch.undo()
    replace(fake_run / "config.json", old, new)
    data_dir = fake_run / "data"
    data_dir.mkdir()
    assert main(["--workdir", str(fake_run), "--data_dir", str(data_dir)]) == 1
    check_figures(fake_run / "figures", HISTORY_FIGURES)
    assert message in capsys.readouterr().err


def test_a_history_without_evaluations_of_f(fake_run, capsys):
    replace(fake_run / "metrics.jsonl", '"nfe_', '"other_')
    assert main(["--workdir", str(fake_run)]) == 0
    check_figures(fake_run / "figures", ["learning_curves.png", CONFUSION])
    assert "nfe.png is left out: metrics.jsonl counts no evaluations" in capsys.readouterr().out


def test_a_run_that_is_not_finished(fake_run, capsys):
    (fake_run / "result.json").unlink()
    assert main(["--workdir", str(fake_run)]) == 0
    assert not check_figures(fake_run / "figures", ALL)["complete"]
    assert "The run is not finished; its last logged step is 20." in capsys.readouterr().out


def test_a_solve_that_fails_leaves_the_other_figures(fake_run, monkeypatch, capsys):
    def fail(*_, **__):
        raise SolverError("dopri5: the state is not finite")

    monkeypatch.setattr(run_report, "ODELayer", object)
    monkeypatch.setattr(run_report, "follow", fail)
    monkeypatch.setattr(fakes.FakeModel, "condition", lambda *_: None, raising=False)
    assert main(["--workdir", str(fake_run)]) == 1
    check_figures(fake_run / "figures", ALL)
    error = capsys.readouterr().err
    assert "solve.png and trajectories.png could not be drawn: dopri5: the state is" in error


def check_refused(capsys, arguments, message):
    assert main([str(argument) for argument in arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("python -m homoode_tf.plot: ") and message in output.err
    assert output.err.count("\n") == 1


def test_a_folder_without_a_run(tmp_path, capsys):
    check_refused(capsys, ["--workdir", tmp_path / "no"], "config.json is missing")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("text", ["{", "[1]", "\x00"])
def test_a_damaged_config(tmp_path, capsys, text):
    (tmp_path / "config.json").write_text(text)
    check_refused(capsys, ["--workdir", tmp_path], "config.json cannot be read")


def test_no_images_or_an_output_that_is_no_folder(fake_run, capsys):
    for number in (0, -1, 10**20):
        flags = ["--workdir", fake_run, "--images", number]
        check_refused(capsys, flags, "--images must be an integer at least 1")
    output = fake_run / "config.json"
    check_refused(capsys, ["--workdir", fake_run, "--output", output], "File exists")


def test_without_matplotlib(fake_run, capsys, monkeypatch):
    for name in ("report.style", "report.plot.figures", "report.plot.run_report"):
        package, _, module = f"homoode_tf.{name}".rpartition(".")
        monkeypatch.delitem(sys.modules, f"homoode_tf.{name}", raising=False)
        monkeypatch.delattr(sys.modules[package], module, raising=False)
    for name in {"matplotlib", *sys.modules}:
        if name.partition(".")[0] == "matplotlib":
            monkeypatch.setitem(sys.modules, name, None)
    check_refused(capsys, ["--workdir", fake_run], "pip install 'homoode_tf[plots]'")
    assert not (fake_run / "figures").exists()


def test_a_missing_flag_ends_with_status_2(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "--workdir" in capsys.readouterr().err
