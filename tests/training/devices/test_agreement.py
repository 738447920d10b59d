# SPDX-License-Identifier: Apache-2.0
import itertools

import pytest

from homoode_tf.errors import InvalidValueError
from homoode_tf.training.devices import agreement
from homoode_tf.training.files.workdir import Workdir
from homoode_tf.training.run import Run
from tests.training import fakes


def check(monkeypatch, *workers):
    """What the first worker says when the others hold these facts."""
    monkeypatch.setattr(agreement, "has_several_workers", lambda _: True)
    calls = itertools.count()

    def gather(_, numbers):
        texts = [agreement.json.dumps(facts).encode() for facts in workers]
        if next(calls) == 0:
            assert numbers == [len(texts[0])]
            return [len(text) for text in texts]
        length = max(map(len, texts))
        return [code for text in texts for code in text.ljust(length)]

    monkeypatch.setattr(agreement, "gather_over_workers", gather)
    agreement.check(None, workers[0])


def test_workers_that_agree_go_on(monkeypatch):
    check(monkeypatch, {"seed": "1"}, {"seed": "1"}, {"seed": "1"})


def test_each_difference_is_named(monkeypatch):
    with pytest.raises(InvalidValueError) as caught:
        check(
            monkeypatch,
            {"seed": "1", "the checkpoint": "none", "same": "é"},
            {"seed": "1", "the checkpoint": "step-00000003 (12345678)", "same": "é"},
            {"seed": "20", "the checkpoint": "none", "same": "é", "new": "5"},
        )
    text = str(caught.value)
    assert "seed is 1 on worker 0 and 20 on worker 2" in text
    assert "the checkpoint is none on worker 0 and step-00000003 (12345678) on worker 1" in text
    assert "new is absent on worker 0 and 5 on worker 2" in text
    assert "in a workdir that they share" in text and "same" not in text.split(";")[0]


def test_one_process_agrees_with_itself(one_replica):
    agreement.check(one_replica, {"seed": "1"})


def test_a_run_compares_its_config_and_then_its_checkpoint(tmp_path, monkeypatch, one_replica):
    fakes.install(monkeypatch.setattr)
    asked = []
    monkeypatch.setattr(agreement, "check", lambda _, facts: asked.append(facts))
    run = Run(fakes.settings(), Workdir(tmp_path), strategy=one_replica)
    assert asked[0]["optimizer.learning_rate"] == "0.01" and "the code" in asked[0]
    run.restore_or_initialise()
    assert asked[1]["the checkpoint"] == "none" and "num_train=40" in asked[1]["the data set"]
