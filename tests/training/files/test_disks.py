# SPDX-License-Identifier: Apache-2.0
"""Disks that are full or read-only, injected by mounting such ones."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.training import runs

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Full when the run wants to write its config, the first metrics, the second checkpoint, and later
# metrics; with how many checkpoints there are by then at least.
FULL = {"size=4k": 0, "size=16k": 0, "size=48k": 1, "size=80k": 2}
READ_ONLY = "size=10m,ro"
NAMESPACE = ["unshare", "--map-root-user", "--mount"]


def may_mount():
    if shutil.which("unshare") is None:
        return False
    check = [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(check, capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not may_mount(), reason="needs the permission to mount in a namespace"),
]


@pytest.fixture(scope="module")
def disks(tmp_path_factory):
    """The folder that `run_on_bad_disks` leaves."""
    directory = tmp_path_factory.mktemp("disks")
    script = [sys.executable, "-m", "tests.training.run_on_bad_disks"]
    subprocess.run(
        [*NAMESPACE, *script, directory, *FULL, READ_ONLY],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=600,
    )
    return directory


@pytest.mark.parametrize("options", FULL)
def test_a_full_disk_is_named_and_costs_nothing(disks, uninterrupted, options):
    failed, finished = disks / options / "failed", disks / options / "finished"
    (error,) = (disks / options / "failed.txt").read_text().splitlines()
    assert "No space left on device" in error and "disk/run" in error
    assert not (failed / "result.json").exists()
    checkpoints = list(failed.glob("checkpoints/*"))
    assert all(path.name.startswith("step-") for path in checkpoints)
    assert len(checkpoints) >= FULL[options]
    result = json.loads((finished / "result.json").read_text())
    runs.assert_same_run(finished, result, uninterrupted)


def test_a_read_only_disk_is_named(disks, uninterrupted):
    directory = disks / READ_ONLY
    (error,) = (directory / "failed.txt").read_text().splitlines()
    assert "workdir" in error and "Read-only file system" in error
    assert not (directory / "failed").exists()
    result = json.loads((directory / "finished" / "result.json").read_text())
    runs.assert_same_run(directory / "finished", result, uninterrupted)
