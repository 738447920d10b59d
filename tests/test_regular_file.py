# SPDX-License-Identifier: Apache-2.0
"""That what is no file of a sensible size, or no JSON object, is refused and not read for ever."""

import os

import pytest

from homoode_tf import regular_file
from homoode_tf.errors import InvalidValueError
from homoode_tf.report.compare.experiment import Member
from homoode_tf.report.plot.metrics_history import History
from homoode_tf.training.files.workdir import Workdir, WorkdirError


def test_a_file_is_read_up_to_its_limit(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert regular_file.read(tmp_path / "file", at_most=5) == b"12345"
    with pytest.raises(InvalidValueError, match="^too large: 5 bytes, at most 4$"):
        regular_file.read(tmp_path / "file", at_most=4)


def hostile(folder):
    """Yields paths of what might never end, or takes no end of memory."""
    os.mkfifo(folder / "pipe")
    (folder / "device").symlink_to("/dev/zero")
    with (folder / "sparse").open("wb") as file:
        file.truncate(2**40)
    yield from (folder / name for name in ("pipe", "device", "sparse"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no JSON: Expecting value"),
        (b"\xff", "no JSON: .*codec"),
        (b"[" * 100_000, "no JSON: it is nested too deeply"),
        (b'{"a":' * 100_000, "no JSON: it is nested too deeply"),
        (b"[1]", "no JSON object"),
    ],
)
def test_json_that_is_no_object(tmp_path, content, reason):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InvalidValueError, match=f"^{reason}"):
        regular_file.read_json(tmp_path / "file")


def test_the_files_of_a_run_are_read_so(tmp_path):
    for path in hostile(tmp_path):
        run = Workdir(tmp_path / "run" / path.name)
        run.directory.mkdir(parents=True)
        for name in ("config.json", "result.json", "metrics.jsonl"):
            (run.directory / name).symlink_to(path)
        member = Member("model", 0, None, run.directory)
        for read in (run.read_config, run.read_result, member.outcome):
            with pytest.raises(WorkdirError, match=r"\.json cannot be read: (not a re|too large)"):
                read()
        with pytest.raises(InvalidValueError, match=r"jsonl cannot be read: (not a re|too large)"):
            History.read(run.metrics)


def test_a_line_of_metrics_that_is_nested_too_deeply_is_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("[" * 100_000 + '\n{"step": 1, "loss": 2.0}\n')
    assert History.read(tmp_path / "metrics.jsonl").last_step == 1
