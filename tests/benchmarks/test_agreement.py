# SPDX-License-Identifier: Apache-2.0
"""The check that peers compute the same."""

import numpy as np
import pytest

from benchmarks import agreement


def _result(logit=1.0, weight=1.0):
    return {
        "logits": np.full((2, 3), logit, np.float32),
        "kernel": np.full((4, 4), weight, np.float32),
        "bias": np.zeros(4, np.float32),
    }


def test_equal_results_agree():
    (row,) = agreement.compare({"a": _result(), "b": _result()})
    assert row["agree"] and row["logits"] == 0.0 and row["gradient"] == 0.0


def test_every_pair_is_compared():
    rows = agreement.compare({name: _result() for name in "abcd"})
    assert len({(row["first"], row["second"]) for row in rows}) == 6


@pytest.mark.parametrize(
    ("changes", "agree"),
    [
        ({"logit": 1.0009}, True),
        ({"logit": 1.002}, False),
        ({"weight": 1.009}, True),
        ({"weight": 1.02}, False),
        ({"logit": np.nan}, False),
        ({"weight": np.nan}, False),
    ],
)
def test_tolerances(changes, agree):
    (row,) = agreement.compare({"a": _result(), "b": _result(**changes)})
    assert row["agree"] == agree


@pytest.mark.parametrize(("logit", "agree"), [(1.04, True), (1.06, False), (np.nan, False)])
def test_bfloat16_has_tolerances_of_its_own(logit, agree):
    (row,) = agreement.compare({"a": _result(), "b": _result(logit)}, bfloat16=["b"])
    assert row["bfloat16"] and row["agree"] == agree


def test_gradient_difference_is_relative_to_all_weights_together():
    first = {"kernel": np.array([3.0]), "bias": np.array([4.0])}
    second = {"kernel": np.array([3.0]), "bias": np.array([0.0])}
    assert agreement.gradient_difference(first, second) == pytest.approx(4.0 / 5.0)
    assert agreement.gradient_difference(second, first) == pytest.approx(4.0 / 5.0)


def test_gradients_of_other_weights_are_refused():
    with pytest.raises(ValueError, match="only one has \\['bias'\\]"):
        agreement.gradient_difference(
            {"kernel": np.ones(1), "bias": np.ones(1)}, {"kernel": np.ones(1)}
        )


def test_losses():
    losses = [float(n) for n in range(100)]
    assert agreement.mean_loss(losses, 50) == pytest.approx(np.mean(losses[40:50]))
    assert agreement.mean_loss(losses, 3) == pytest.approx(1.0)
    assert agreement.loss_spread({"a": 2.0, "b": 2.02, "c": 1.98}) == pytest.approx(0.04 / 1.98)
