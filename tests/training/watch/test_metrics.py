# SPDX-License-Identifier: Apache-2.0
import json
import os

import numpy as np
import tensorflow as tf
from google.protobuf import struct_pb2
from PIL import Image

from homoode_tf.training.watch.metric_sums import MetricSums
from homoode_tf.training.watch.metrics import MetricsWriter, read_metrics


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


def values_of(folder):
    """(step, name, tensor, plugin) of each value in a folder's events, those below left out."""
    return [
        (event.step, value.tag, tf.make_ndarray(value.tensor), value.metadata.plugin_data)
        for file in folder.glob("*.tfevents.*")
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    ]


def test_training_and_validation_are_pairs_in_tensorboard(tmp_path):
    line = {"loss": 0.5, "nfe_forward": 7.0, "validation_loss": 0.25}
    with MetricsWriter(tmp_path / "metrics.jsonl", tmp_path / "events", step=0) as metrics:
        metrics.write(3, line)
    train, validation = (values_of(tmp_path / "events" / name) for name in ("train", "validation"))
    assert [value[:3] for value in train] == [(3, "loss", 0.5), (3, "nfe_forward", 7.0)]
    assert [value[:3] for value in validation] == [(3, "loss", 0.25)]
    assert {value[3].plugin_name for value in train + validation} == {"scalars"}
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 3, **line}


def test_pictures_are_images_of_the_validation(tmp_path):
    picture = Image.new("RGB", (5, 3), "red")
    with MetricsWriter(tmp_path / "metrics.jsonl", tmp_path / "events", step=0) as metrics:
        metrics.show(4, {"samples": picture})
    ((step, name, (width, height, png), plugin),) = values_of(tmp_path / "events" / "validation")
    assert (step, name, plugin.plugin_name) == (4, "samples", "images")
    assert (width, height) == (b"5", b"3")
    np.testing.assert_array_equal(tf.io.decode_png(png), np.asarray(picture))


def test_the_config_is_what_tensorboard_reads_as_hyperparameters(tmp_path):
    fields = {"seed": 7, "jit_compile": False, "model.layer": "deq", "model.stem_strides": [1, 2]}
    fields |= {f"field{number}": "x" * 50 for number in range(9)}
    with MetricsWriter(tmp_path / "metrics.jsonl", tmp_path / "events", step=0) as metrics:
        metrics.describe(fields)
    ((step, name, _, plugin),) = values_of(tmp_path / "events")
    assert (step, name) == (0, "_hparams_/session_start_info")
    assert plugin.plugin_name == "hparams"
    # One length-delimited field of number 3, longer than a byte can say.
    assert plugin.content[0] == 3 << 3 | 2
    length = plugin.content[1] - 128 + (plugin.content[2] << 7)
    assert length == len(plugin.content) - 3
    found = struct_pb2.Struct.FromString(plugin.content[3:])
    assert dict(found.items()) == {**fields, "model.stem_strides": "[1, 2]"}


def test_no_event_of_a_resumed_run_is_there_twice(tmp_path):
    path, events = tmp_path / "metrics.jsonl", tmp_path / "events"
    with MetricsWriter(path, events, step=0) as metrics:
        for step in (2, 4, 6):
            metrics.write(step, {"loss": 1.0})
    (first,) = (events / "train").iterdir()
    with first.open("ab") as file:
        file.write(b"cut short")
    with MetricsWriter(path, events, step=4) as metrics:
        metrics.write(6, {"loss": 3.0})
    found = [
        event.step
        for file in events.rglob("*.tfevents.*")
        for event in tf.compat.v1.train.summary_iterator(str(file))
        if event.summary.value
    ]
    assert sorted(found) == [2, 4, 6]


def test_a_process_that_does_not_write_leaves_no_files(tmp_path):
    with MetricsWriter(tmp_path / "m", tmp_path / "events", step=0, writes=False) as metrics:
        metrics.write(1, {"loss": 1.0})
    assert not list(tmp_path.iterdir())


def test_metrics_of_earlier_versions_have_the_names_of_today(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 2, "initial_point_loss": 0.5}\n')
    assert read_metrics(path) == [{"step": 2, "added_loss": 0.5}]
    with MetricsWriter(path, tmp_path / "events", step=2) as metrics:
        metrics.write(4, {"added_loss": 0.25})
    assert [line["added_loss"] for line in map(json.loads, path.open())] == [0.5, 0.25]


def test_what_is_no_file_among_the_events_is_left_alone(tmp_path):
    events = tmp_path / "events"
    (events / "x.tfevents.folder").mkdir(parents=True)
    os.mkfifo(events / "x.tfevents.pipe")  # Reading it would wait for ever.
    with MetricsWriter(tmp_path / "metrics.jsonl", events, step=0) as metrics:
        metrics.write(1, {"loss": 1.0})
    assert (events / "x.tfevents.pipe").exists()


def test_the_mean_of_nothing_is_null_and_no_event(tmp_path):
    with MetricsWriter(tmp_path / "metrics.jsonl", tmp_path / "events", step=0) as metrics:
        metrics.write(3, {"loss": None, "epoch": 1})
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 3, "loss": None, "epoch": 1}]
    assert [value[1] for value in values_of(tmp_path / "events" / "train")] == ["epoch"]
    sums = MetricSums("sums")
    found = {name for name, value in sums.means().items() if value is None}
    assert found == {"loss", "accuracy", "added_loss", "nfe_forward", "nfe_backward"}
    sums.add([1.0, 2.0, 3.0, 1.0, 0.0, 7.0, 8.0])
    assert (sums.means()["loss"], sums.means()["nfe_forward"]) == (1.5, 7.0)
