# SPDX-License-Identifier: Apache-2.0
"""In processes of their own, because the standard error is one for all, with a made TensorFlow."""

import os
import pathlib
import subprocess
import sys

import pytest

FILE = pathlib.Path(__file__).parents[1] / "homoode_tf" / "notices.py"
NOTICES = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1.2 1 port.cc:153] oneDNN custom operations are on.",
    "To enable the following instructions: AVX2, rebuild TensorFlow.",
]
NO_DEVICE = "E0000 00:00:1.2 1 cuda_platform.cc:52] failed call to cuInit: UNKNOWN ERROR (303)"
ERROR = "E0000 00:00:1.2 1 cuda_platform.cc:52] failed call to cuInit: driver mismatch (803)"
PROGRAM = f"""
import runpy, sys
sys.argv[0] = sys.argv[1]
with runpy.run_path({str(FILE)!r})["held_back"]():
    import tensorflow
print("after", file=sys.stderr)
"""


def errors_of(tmp_path, program="-m", level=None, end="", lines=(*NOTICES, NO_DEVICE, ERROR)):
    (tmp_path / "tensorflow.py").write_text(
        f"import os\nos.write(2, {chr(10).join([*lines, '']).encode()!r})\n{end}\n"
        "class config:\n    list_physical_devices = lambda: None"
    )
    environment = {name: value for name, value in os.environ.items() if "TF_CPP" not in name}
    environment |= {"PYTHONPATH": str(tmp_path)} | (
        {"TF_CPP_MIN_LOG_LEVEL": level} if level else {}
    )
    command = [sys.executable, "-c", PROGRAM, program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("program", "level"), [("-m", None), ("/bin/homoode-train", None), ("mine.py", "2")]
)
def test_notices_go_and_errors_stay(tmp_path, program, level):
    assert errors_of(tmp_path, program, level) == [ERROR, "after"]


@pytest.mark.parametrize(("program", "level"), [("mine.py", None), ("-m", "0"), ("train.py", "1")])
def test_who_wants_them_sees_them(tmp_path, program, level):
    assert errors_of(tmp_path, program, level) == [*NOTICES, NO_DEVICE, ERROR, "after"]


def test_the_last_words_of_a_process_that_aborts_are_shown(tmp_path):
    found = errors_of(tmp_path, end="os.abort()", lines=[*NOTICES, "F0000 no AVX"])
    assert found == ["F0000 no AVX"]


def test_an_error_of_the_import_is_shown(tmp_path):
    found = errors_of(tmp_path, end="raise ImportError('libcuda')", lines=NOTICES)
    assert found[-1] == "ImportError: libcuda" and not set(NOTICES) & set(found)
