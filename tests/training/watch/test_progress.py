# SPDX-License-Identifier: Apache-2.0
import io

from homoode_tf.training.watch.progress import Progress

METRICS = {"loss": 0.5, "accuracy": 0.75, "nfe_forward": 14.0, "nfe_backward": 20.0}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_file_gets_few_whole_lines():
    stream = io.StringIO()
    with Progress(1000, stream=stream) as progress:
        for step in range(10, 500, 10):
            progress.update(step, METRICS)
        progress.update(500, {**METRICS, "validation_accuracy": 0.9})
    first, last = stream.getvalue().splitlines()
    assert first.startswith("step 10/1000: loss 0.5000, accuracy 75.00%, NFE 14.0 + 20.0")
    assert "validation accuracy 90.00%" in last and last.endswith("left")
    assert "\r" not in stream.getvalue()


def test_a_terminal_gets_a_bar_with_the_metrics_and_the_time_left():
    stream = Terminal()
    with Progress(100, stream=stream) as progress:
        progress.update(40, METRICS)
    text = stream.getvalue()
    assert "40/100" in text and "40%" in text and "NFE 14.0 + 20.0" in text and "<" in text


def test_a_resumed_bar_starts_where_the_run_stopped():
    stream = Terminal()
    with Progress(100, step=60, stream=stream):
        pass
    assert "60/100" in stream.getvalue()


def test_quiet_writes_nothing():
    stream = Terminal()
    with Progress(100, stream=stream, quiet=True) as progress:
        progress.update(40, METRICS)
        progress.say("hello")
    assert stream.getvalue() == ""
