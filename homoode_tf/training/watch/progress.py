# SPDX-License-Identifier: Apache-2.0
"""What a person sees of a run."""

import datetime
import math
import sys
import threading
import time
from collections.abc import Mapping
from typing import TextIO

import tqdm

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_DRAWINGS = 1.0
# What 80 columns hold beside the metrics.
BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


class Progress:
    """A progress bar on a terminal, drawn every second by a thread; elsewhere a line now and then.

    Args:
        total_steps: Steps of the whole run.
        step: The step that training goes on from.
        stream: Where to write, the standard output by default.
        quiet: Whether to write nothing, as all workers but the chief do.

    Example:
        >>> metrics = {"loss": 0.7, "accuracy": 0.8, "nfe_forward": 20.0, "nfe_backward": 12.0}
        >>> with Progress(total_steps=100) as progress:
        ...     progress.update(50, metrics)
        step 50/100: loss 0.7000, accuracy 80.00%, NFE 20.0 + 12.0, 0:00:00 left
    """

    def __init__(
        self, total_steps: int, step: int = 0, stream: TextIO | None = None, quiet: bool = False
    ):
        self._stream = sys.stdout if stream is None else stream
        self._quiet = quiet
        self._total_steps = total_steps
        self._first_step = step
        self._started = time.monotonic()
        self._last_line = -_SECONDS_BETWEEN_LINES
        self._doing, self._metrics = "", ""
        self._bar = tqdm.tqdm(
            total=total_steps,
            initial=step,
            file=self._stream,
            bar_format=BAR,
            dynamic_ncols=True,
            # The time left from all steps so far: single ones differ by their NFE.
            smoothing=0.0,
            disable=quiet or not self._stream.isatty(),
        )
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._draw_on, daemon=True)

    def __enter__(self) -> "Progress":
        if not self._bar.disable:
            self._clock.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        if self._clock.is_alive():
            self._clock.join()
        self.doing("")
        self._bar.close()

    def doing(self, what: str) -> None:
        """Says what is done instead of steps, as "compiling"; "" for steps again."""
        self._doing = what
        self._draw()

    def made(self, step: int) -> None:
        """Notes that a step is made; costs next to nothing."""
        self._bar.n = step

    def _draw_on(self) -> None:
        while not self._ended.wait(_SECONDS_BETWEEN_DRAWINGS):
            self._draw()

    def _draw(self) -> None:
        if not self._bar.disable:
            self._bar.set_description_str(self._doing and f"{self._doing}: ", refresh=False)
            self._bar.set_postfix_str("" if self._doing else self._metrics, refresh=False)
            self._bar.refresh()

    def update(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Shows the metrics of a logged step.

        Args:
            step: Number of steps made.
            metrics: At least `loss`, `accuracy`, `nfe_forward`, `nfe_backward`, None where all
                steps were skipped; `validation_accuracy` where it was evaluated.
        """
        # A mean of nothing is shown as nan, and nowhere written so.
        metrics = {name: math.nan if v is None else v for name, v in metrics.items()}
        text = (
            f"loss {metrics['loss']:.4f}, accuracy {metrics['accuracy']:.2%}, "
            f"NFE {metrics['nfe_forward']:.1f} + {metrics['nfe_backward']:.1f}"
        )
        validated = "validation_accuracy" in metrics
        if validated:
            text += f", validation accuracy {metrics['validation_accuracy']:.2%}"
        if not self._bar.disable:
            # Shorter, so that 80 columns hold the bar as well.
            self._metrics = (
                f"loss {metrics['loss']:.3f}, {metrics['accuracy']:.1%}, "
                f"NFE {metrics['nfe_forward']:.0f}+{metrics['nfe_backward']:.0f}"
            )
            self.made(step)
            self.doing("")
            if validated:
                self.say(f"step {step}: {text}")
            return
        now = time.monotonic()
        if validated or now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            made = max(step - self._first_step, 1)
            seconds = (now - self._started) / made * (self._total_steps - step)
            left = datetime.timedelta(seconds=round(seconds))
            self.say(f"step {step}/{self._total_steps}: {text}, {left} left")

    def say(self, text: str) -> None:
        """Writes a line of its own."""
        if not self._quiet:
            tqdm.tqdm.write(text, file=self._stream)
            self._stream.flush()
