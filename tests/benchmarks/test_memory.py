# SPDX-License-Identifier: Apache-2.0
"""Whose memory is measured against the number of steps."""

import pytest

from benchmarks import memory, peers


def test_peers_of_one_step_are_left_out(monkeypatch):
    monkeypatch.setattr("sys.argv", ["memory", "--peers", "torch"])
    assert memory._arguments().peers == ["torch/backprop", "torch/adjoint"]


@pytest.mark.parametrize("name", [*peers.ONE_STEP, "floor", "tfp"])
def test_peers_that_cannot_are_refused(name, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["memory", "--peers", name])
    with pytest.raises(SystemExit):
        memory._arguments()
    assert f"take more than one step, got {name}" in capsys.readouterr().err
