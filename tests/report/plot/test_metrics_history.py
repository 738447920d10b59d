# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from homoode_tf.plot import History, HistoryError
from homoode_tf.training.watch.metrics import MetricsWriter


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path, tmp_path / "events", step=0) as metrics:
        metrics.write(10, {"loss": 2.0})
        metrics.write(20, {"loss": 1.5, "validation_loss": 1.75})
        metrics.write(30, {"loss": 1.25})
    return path


def check(series, steps, values):
    np.testing.assert_array_equal(series.steps, steps)
    np.testing.assert_array_equal(series.values, values)


def test_each_metric_has_the_steps_that_it_was_logged_at(path):
    history = History.read(path)
    check(history.series("loss"), [10, 20, 30], [2.0, 1.5, 1.25])
    check(history.series("validation_loss"), [20], [1.75])
    assert len(history.series("nothing")) == 0
    assert history.last_step == 30


@pytest.mark.parametrize("cut", ['{"step": 40, "lo', '{"step": 40', "{", '"\x00\x00', "4", "[40]"])
def test_a_last_line_cut_short_is_left_out(path, cut):
    with open(path, "a") as file:
        file.write(cut)
    history = History.read(path)
    check(history.series("loss"), [10, 20, 30], [2.0, 1.5, 1.25])
    assert history.last_step == 30


def test_what_is_no_finite_number_is_left_out(path):
    with open(path, "a") as file:
        file.write('{"step": 40, "loss": NaN}\n{"step": 50, "loss": "1"}\n')
        file.write('{"step": 60, "loss": true}\n{"step": 70, "loss": 1}\n')
        file.write(f'{{"step": 80, "loss": {10**400}}}\n{{"step": {10**20}, "loss": 1}}\n')
        file.write('{"step": -1, "loss": 1}\n')
    check(History.read(path).series("loss"), [10, 20, 30, 70], [2.0, 1.5, 1.25, 1.0])


def test_no_history_is_an_error(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with pytest.raises(HistoryError, match="metrics.jsonl is missing"):
        History.read(path)
    path.write_text('{"step": 1')
    with pytest.raises(HistoryError, match="metrics.jsonl is empty"):
        History.read(path)
