# SPDX-License-Identifier: Apache-2.0
"""Who is compared with whom, and how the table reads."""

import pytest

from benchmarks import measurements, peers, train_step

NAMES = ["ours/backprop", "ours/bfloat16", "torch/tuned", "floor/float32", "floor/bfloat16"]
SPECS = [peers.PeerSpec(name, peers.settings_of(name, {})) for name in NAMES]


class FakePeer:
    """Notes what it is asked; ours counts as many evaluations as the batch's number."""

    def __init__(self, spec, folder=None):
        self.spec, self.asked = spec, []

    def step(self, batch, evaluations=None):
        self.asked.append(evaluations)
        return {"evaluations": evaluations or [batch, batch - 1]}


def test_a_floor_evaluates_what_the_peer_above_it_has_counted():
    running = [FakePeer(spec) for spec in SPECS]
    measurements._in_turn(running, 2, "step", 7)
    assert [peer.asked for peer in running[3:]] == [[[7, 6], [8, 7]]] * 2
    assert all(peer.asked == [None, None] for peer in running[:3])


def test_a_floor_alone_is_not_told():
    floor = FakePeer(SPECS[3])
    measurements._in_turn([floor], 1, "step", 7)
    assert floor.asked == [None]


def test_what_takes_one_step_is_compared_with_one_step_of_ours(monkeypatch):
    groups = []
    monkeypatch.setattr(
        measurements,
        "check_agreement",
        lambda specs, folder, tolerance: groups.append((specs, tolerance)) or [],
    )
    assert train_step._check_agreement(SPECS, None, 1e-6) == []
    (solving, tight), (one_step, _) = groups
    assert [spec.key for spec in solving] == ["ours/backprop"] and tight == 1e-6
    assert [spec.key for spec in one_step] == ["ours, one step", "ours/bfloat16", "torch/tuned"]
    assert {(spec.num_steps, spec.method) for spec in one_step} == {(1, "dopri5")}


def results(bfloat16_loss=2.0):
    def row(name, seconds):
        times = {
            "step": seconds,
            "forward": seconds / 2,
            "step_evaluations": [7, 6],
            "forward_evaluations": 7,
        }
        return {
            "precision": "bfloat16" if name.endswith("bfloat16") else "float32",
            "settings": {},
            "peak_mib": 1.0,
            "versions": {},
            "first_forward": 1.0,
            "first_step": 1.0,
            "losses": [None if "floor" in name else 2.0] * 2,
            "fresh": times,
            "trained": times,
        }

    rows = {name: row(name, 1.0 + n) for n, name in enumerate(NAMES)}
    rows["torch/tuned_bfloat16"] = {**row("torch/tuned_bfloat16", 10.0), "losses": [bfloat16_loss]}
    pair = {"first": "ours, one step", "second": "torch/tuned", "logits": 1e-7, "gradient": 1e-6}
    machine = {"command": "python -m x", "processor": "P", "bfloat16": "AVX512_BF16"}
    return {
        "machine": machine,
        "threads": 2,
        "images": "random images",
        "batch_size": 8,
        "rounds": 1,
        "train_steps": 1,
        "tolerance": 1e-3,
        "tight_tolerance": 1e-6,
        "agreement": [{**pair, "bfloat16": False, "agree": True}],
        "peers": rows,
    }


def test_report():
    text, agree = train_step._report(results())
    assert agree and "on P (AVX512_BF16), 2 thread(s)" in text
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    header = next(line for line in table if line)
    assert header[:4] == ["peer", "step / floor", "step / torch/tuned", "step (s)"]
    by_name = {line[0]: line[1:4] for line in table if len(line) == len(header)}
    # Each is divided by what has its own precision.
    assert by_name["ours/backprop"] == ["0.25", "0.333", "1"]
    assert by_name["ours/bfloat16"] == ["0.4", "0.2", "2"]
    assert by_name["floor/bfloat16"] == ["1", "0.5", "5"]


def test_losses_are_compared_within_a_precision():
    text, agree = train_step._report(results(bfloat16_loss=2.1))
    assert not agree and "LOSSES IN bfloat16 DO NOT AGREE." in text
    assert "LOSSES IN float32" not in text


@pytest.mark.parametrize("name", NAMES)
def test_a_base_that_is_not_there_is_no_column(name):
    rows = results()["peers"]
    table = train_step._time_table({name: rows[name]}, "trained")
    assert ("step / floor" in table) == name.startswith("floor")
