# SPDX-License-Identifier: Apache-2.0
"""What a run has left, and whether two runs are the same."""

import json

import numpy as np
import tensorflow as tf

MEASURED = ("examples_per_second", "seconds", "peak_memory_mb")


def final_weights(workdir, step=20):
    (folder,) = sorted((workdir / "checkpoints").glob(f"step-{step:08d}*"))[-1:]
    reader = tf.train.load_checkpoint(str(folder / "state"))
    shapes = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in shapes if not name.startswith("_")}


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def without_measurements(values):
    left_out = {*MEASURED, "sha256", "config"}  # what only the file holds
    return {name: value for name, value in values.items() if name not in left_out}


def assert_same_run(workdir, result, reference):
    reference_workdir, reference_result = reference
    assert without_measurements(result) == without_measurements(reference_result)
    mine, theirs = final_weights(workdir), final_weights(reference_workdir)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)
    mine, theirs = lines(workdir), lines(reference_workdir)
    assert [without_measurements(line) for line in mine] == list(map(without_measurements, theirs))
