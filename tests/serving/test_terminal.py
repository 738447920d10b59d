# SPDX-License-Identifier: Apache-2.0
import errno
import os
import re

import pytest
import tensorflow as tf

from homoode_tf.serving import terminal

FULL, TOO_LARGE = os.strerror(errno.ENOSPC), os.strerror(errno.EFBIG)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(errno.ENOSPC, FULL), "make room"),
        (OSError(errno.EFBIG, TOO_LARGE), "ulimit -f"),
        (tf.errors.ResourceExhaustedError(None, None, f"x.tmp; {FULL}"), "x.tmp; .*make room"),
        (tf.errors.OutOfRangeError(None, None, f"x.tmp; {TOO_LARGE}"), "x.tmp; .*ulimit -f"),
        (RuntimeError(f"cannot write: {FULL}"), "make room"),
    ],
)
def test_a_disk_that_takes_no_more_is_one_line(capsys, monkeypatch, error, advice):
    monkeypatch.setattr(terminal, "_discard_output", lambda: None)

    def fail():
        raise error

    assert terminal.run("homoode_tf.weights", fail) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be written: " in line and re.search(advice, line)


def test_a_mistake_of_ours_goes_on():
    def fail():
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        terminal.run("homoode_tf.weights", fail)
