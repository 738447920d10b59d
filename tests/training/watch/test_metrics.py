# SPDX-License-Identifier: Apache-2.0
import json

import tensorflow as tf

from homoode_tf.training.watch.metrics import MetricsWriter


def steps(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_each_line_is_on_disk_at_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path, tmp_path / "events", step=0) as metrics:
        metrics.write(1, {"loss": 2.0})
        assert json.loads(path.read_text()) == {"step": 1, "loss": 2.0}


def test_lines_after_the_step_and_broken_lines_are_removed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path, tmp_path / "events", step=0) as metrics:
        for step in (2, 4, 6):
            metrics.write(step, {"loss": 1.0})
    with open(path, "a") as file:
        file.write('{"step": 8, "lo')
    with MetricsWriter(path, tmp_path / "events", step=4) as metrics:
        assert steps(path) == [2, 4]
        metrics.write(6, {"loss": 3.0})
    assert steps(path) == [2, 4, 6]


def test_events_are_what_tensorboard_reads(tmp_path):
    with MetricsWriter(tmp_path / "metrics.jsonl", tmp_path / "events", step=0) as metrics:
        metrics.write(3, {"loss": 0.5})
    (file,) = (tmp_path / "events").iterdir()
    values = [
        (event.step, value.tag, float(tf.make_ndarray(value.tensor)), value.metadata)
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    ]
    ((step, tag, number, metadata),) = values
    assert (step, tag, number) == (3, "loss", 0.5)
    assert metadata.plugin_data.plugin_name == "scalars"


def test_no_event_of_a_resumed_run_is_there_twice(tmp_path):
    path, events = tmp_path / "metrics.jsonl", tmp_path / "events"
    with MetricsWriter(path, events, step=0) as metrics:
        for step in (2, 4, 6):
            metrics.write(step, {"loss": 1.0})
    (first,) = events.iterdir()
    with first.open("ab") as file:
        file.write(b"cut short")
    with MetricsWriter(path, events, step=4) as metrics:
        metrics.write(6, {"loss": 3.0})
    found = [
        event.step
        for file in events.iterdir()
        for event in tf.compat.v1.train.summary_iterator(str(file))
        if event.summary.value
    ]
    assert sorted(found) == [2, 4, 6]


def test_a_process_that_does_not_write_leaves_no_files(tmp_path):
    with MetricsWriter(tmp_path / "m", tmp_path / "events", step=0, writes=False) as metrics:
        metrics.write(1, {"loss": 1.0})
    assert not list(tmp_path.iterdir())
