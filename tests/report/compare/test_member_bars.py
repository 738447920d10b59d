# SPDX-License-Identifier: Apache-2.0
import io

import pytest

from homoode_tf.compare import Member
from homoode_tf.report.compare import member_bars
from homoode_tf.report.compare.member_bars import MemberBars
from homoode_tf.training.watch.progress import Progress

METRICS = {"loss": 0.5, "accuracy": 0.75, "nfe_forward": 14.0, "nfe_backward": 20.0}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def members(tmp_path, monkeypatch):
    monkeypatch.setattr(member_bars, "_SECONDS_BETWEEN_DRAWINGS", 0.0)
    made = [Member("homoode", 0, {}, tmp_path / "a"), Member("deq", 1, {}, tmp_path / "b")]
    for member in made:
        member.workdir.mkdir()
    with made[1].log.open("w") as log, Progress(50, stream=log) as progress:
        progress.update(10, {**METRICS, "validation_accuracy": 0.9})
        progress.update(20, {**METRICS, "validation_accuracy": 0.9})
    return made


def test_each_member_has_a_bar_that_says_how_far_it_is(members):
    stream = Terminal()
    bars = MemberBars(stream)
    bars.draw(members)
    text = stream.getvalue()
    assert "homoode, seed 0: |" in text and "starting" in text
    assert "deq, seed 1:  40%" in text and "20/50" in text and "accuracy 75.00%]" in text
    (members[1].workdir / "metrics.jsonl").write_text('{"step": 30}\n')
    bars.draw(members)
    assert "30/50" in stream.getvalue()
    (members[1].workdir / "metrics.jsonl").write_text('{"step": 30}\n{"st')
    before = stream.getvalue()
    bars.draw(members[1:])
    assert "20/50" in stream.getvalue()[len(before) :], "the line cut short counts for nothing"
    assert "homoode" not in stream.getvalue()[len(before) :]
    bars.draw([])


def test_a_file_gets_no_bars(members):
    stream = io.StringIO()
    MemberBars(stream).draw(members)
    assert stream.getvalue() == ""
