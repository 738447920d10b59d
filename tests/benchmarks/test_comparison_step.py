# SPDX-License-Identifier: Apache-2.0
"""That members of a comparison make the steps they are trained with, and how the table reads."""

import pytest

from benchmarks import comparison_step
from configs import compare_digits
from homoode_tf.report.compare import experiment as experiments


@pytest.fixture
def comparison():
    """Three small ones, of which one begins with another solver."""
    config = compare_digits.get_config()
    small = {"channels": 8, "groups": 4, "head_channels": 8, "solver": "euler"}
    config.recipe.model.update(small)
    config.models = {
        "plain": {"model": {"num_steps": 3}},
        "early": {
            "model": {"solver": "heun", "num_steps": 2},
            "early_solver": {"name": "euler", "num_steps": 1, "fraction": 0.25},
        },
    }
    return config


@pytest.mark.slow
def test_evaluations_are_those_of_each_members_solver(comparison, tmp_path):
    experiment = experiments.Experiment(comparison, tmp_path)
    running = comparison_step.members_of(experiment, None, num_steps=3)
    assert list(running) == ["early", "early, first 25%", "plain"]
    measured = comparison_step.in_turn(running, train_steps=1, rounds=2)
    assert {name: steps["forward"] for name, steps in measured.items()} == {
        "early": [4.0, 4.0],
        "early, first 25%": [1.0, 1.0],
        "plain": [3.0, 3.0],
    }
    assert all(second > 0 for steps in measured.values() for second in steps["seconds"])
    assert not list(tmp_path.rglob("config.json"))


def test_report():
    results = {
        "machine": {
            "command": "python -m benchmarks.comparison_step",
            "processor": "P",
            "cores": 2,
            "bfloat16": "AMX_BF16",
        },
        "against": "plain",
        "train_steps": 5,
        "rounds": 3,
        "members": {
            "plain": {"seconds": [1.0, 2.0, 4.0], "forward": [7, 7, 13], "backward": [6, 6, 12]},
            # The round that was slow for both has the same ratio.
            "other": {"seconds": [0.5, 1.0, 2.0], "forward": [4, 4, 4], "backward": [3, 3, 3]},
        },
    }
    table = comparison_step.report(results).splitlines()
    assert "after 5, median of 3 rounds" in table[0] and "P, 2 cores, AMX_BF16." in table
    cells = [cell.strip() for cell in table[-1].strip("|").split("|")]
    assert cells == ["other", "1", "0.5", "4", "3"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--config=configs/compare_digits.py", "--against=nobody"], "nobody"),
        (["--config=configs/compare_digits.py", "--against=deq", "--rounds=0"], "positive"),
        (["--config=configs/no_such.py", "--against=deq"], "no_such"),
    ],
)
def test_bad_arguments(given, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["comparison_step", *given])
    with pytest.raises(SystemExit):
        comparison_step.main()
    assert message in capsys.readouterr().err


def test_equal_time():
    from configs import compare_regularisers

    at_time = compare_regularisers.get_config("time")
    assert at_time.models.plain.epochs == 0.5
    assert at_time.models.jacobian.epochs < 0.5 < at_time.models.bosh3.epochs
    assert set(compare_regularisers._STEP_TIMES) == set(at_time.models)
    assert "epochs" not in compare_regularisers.get_config().models.bosh3
    with pytest.raises(ValueError, match="'epochs' or 'time'"):
        compare_regularisers.get_config("money")
