# SPDX-License-Identifier: Apache-2.0
import os
import signal

import pytest

from homoode_tf.training.interruption import Interrupted, Interruption


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_becomes_a_request(number, status):
    with Interruption() as interruption:
        interruption.check()
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted) as caught:
            interruption.check()
    assert caught.value.exit_status == status
    assert caught.value.signal_name in str(caught.value)


def test_the_second_ctrl_c_ends_the_process_at_once():
    with Interruption():
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interruption():
        os.kill(os.getpid(), signal.SIGINT)
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
