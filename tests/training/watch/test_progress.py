# SPDX-License-Identifier: Apache-2.0
import io
import threading

from homoode_tf.training.watch import progress as progress_module
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
    assert "40/100" in text and "40%" in text and "NFE 14+20" in text and "<" in text


def test_a_terminal_s_bar_moves_by_itself_and_says_what_is_done(monkeypatch):
    monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_DRAWINGS", 0.001)
    drawings, drawn = [], threading.Event()

    class Watched(Terminal):
        def write(self, text):
            drawings.append(text)
            if "7/100" in text:
                drawn.set()
            return super().write(text)

    with Progress(100, stream=Watched()) as progress:
        progress.update(5, METRICS)
        progress.doing("compiling")
        assert "compiling:   5%" in drawings[-1] and "loss" not in drawings[-1]
        progress.doing("")
        progress.made(7)
        assert drawn.wait(30), "nothing was drawn between two calls"
    assert "loss 0.500, 75.0%" in drawings[-2]


def test_a_bar_with_its_metrics_fits_into_80_columns():
    stream = Terminal()
    with Progress(30_000, stream=stream) as progress:
        progress._bar.ncols, progress._bar.dynamic_ncols = 79, None
        progress._bar.start_t -= 3600
        progress.update(12_345, METRICS)
    last = stream.getvalue().replace("\n", "\r").split("\r")[-2]
    assert len(last.rstrip()) <= 79 and "NFE 14+20]" in last and "%|" in last


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
