# SPDX-License-Identifier: Apache-2.0
import signal

import pytest
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from homoode_tf.training import loop, train
from homoode_tf.training.interruption import Interrupted
from homoode_tf.training.watch.profiler import Profiler
from tests.training import fakes
from tests.training.runs import assert_same_run

pytestmark = pytest.mark.usefixtures("use_fakes")


def traced_steps(workdir):
    """The numbers of the steps in the one trace of a run; none where there is no trace."""
    paths = list(workdir.glob("events/plugins/profile/*/*.xplane.pb"))
    if not paths:
        return []
    (path,) = paths
    found = []
    for plane in xplane_pb2.XSpace.FromString(path.read_bytes()).planes:
        names = {number: data.name for number, data in plane.stat_metadata.items()}
        for line in plane.lines:
            for event in line.events:
                if plane.event_metadata[event.metadata_id].name == "train":
                    stats = {names[stat.metadata_id]: stat.int64_value for stat in event.stats}
                    found.append(stats["step_num"])
    return sorted(found)


def run(workdir, **options):
    return train(fakes.config(), workdir, strategy="one_device", **options)


def interrupt(monkeypatch, step):
    states = []

    def check(_):
        if states and states[-1].step == step:
            raise Interrupted(signal.SIGTERM)

    fakes.after_each_step(monkeypatch.setattr, states.append)
    monkeypatch.setattr(loop.Interruption, "check", check)


@pytest.mark.slow
def test_a_profiled_run_equals_another_also_when_resumed(tmp_path, capsys):
    plain = tmp_path / "plain", run(tmp_path / "plain")
    assert traced_steps(tmp_path / "plain") == []

    result = run(tmp_path / "profiled", profile_steps=4)
    assert traced_steps(tmp_path / "profiled") == [4, 5, 6, 7]
    assert_same_run(tmp_path / "profiled", result, plain)
    said = f"Profiled steps 4 to 7: tensorboard --logdir {tmp_path / 'profiled' / 'events'}"
    assert said in capsys.readouterr().out

    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, step=9)
        with pytest.raises(Interrupted):
            run(tmp_path / "resumed")
    result = run(tmp_path / "resumed", profile_steps=2)
    assert traced_steps(tmp_path / "resumed") == [13, 14]
    assert_same_run(tmp_path / "resumed", result, plain)


def test_an_interrupted_run_leaves_what_was_traced(tmp_path, monkeypatch):
    interrupt(monkeypatch, step=6)
    with pytest.raises(Interrupted, match="step 6 is saved"):
        run(tmp_path, profile_steps=10)
    assert traced_steps(tmp_path) == [4, 5, 6]
    tf.profiler.experimental.start(str(tmp_path / "again"))  # so the last one has ended
    tf.profiler.experimental.stop(save=False)


@pytest.mark.slow
def test_a_run_that_ends_earlier(tmp_path, caplog):
    run(tmp_path / "a", profile_steps=100)
    assert traced_steps(tmp_path / "a") == list(range(4, 21))
    assert caplog.text == ""
    with Profiler(tmp_path / "b", 1) as profiler, profiler.step(1):
        pass
    assert "No step was profiled: this process made 1, and the first 3 are left out" in caplog.text


@pytest.mark.parametrize("number", [-1, 2.5, "many", None])
def test_a_bad_number_is_refused(tmp_path, number):
    with pytest.raises(ValueError, match=f"profile_steps must be an integer .*, got {number!r}"):
        run(tmp_path / "run", profile_steps=number)
    assert not (tmp_path / "run").exists()


def test_a_profile_that_cannot_be_written_does_not_end_the_run(tmp_path, monkeypatch, caplog):
    stop = tf.profiler.experimental.stop

    def fail():
        stop(save=False)
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.profiler.experimental, "stop", fail)
    assert run(tmp_path, profile_steps=2)["steps"] == 20
    assert "The profile of steps 4 to 5 cannot be written: No space left on device" in caplog.text
