# SPDX-License-Identifier: Apache-2.0
"""Trains the fakes on file systems that are too small or read-only, mends them and trains on.

    unshare --map-root-user --mount python -m tests.training.run_on_bad_disks DIR OPTIONS...

OPTIONS are those of mount, such as `size=64k`. Leaves for each in DIR/OPTIONS the run's folder as
it was when the disk failed (`failed`) and at the end (`finished`), and what the two commands said
on the standard error (`failed.txt`, `finished.txt`).
"""

import contextlib
import io
import pathlib
import shutil
import subprocess
import sys

from homoode_tf import command_line
from homoode_tf.training import train
from tests.training import fakes


def main() -> None:
    fakes.install(setattr)
    for options in sys.argv[2:]:
        directory = pathlib.Path(sys.argv[1]) / options
        disk = directory / "disk"
        disk.mkdir(parents=True)
        _mount("-t", "tmpfs", "-o", options, "tmpfs", disk)
        _train(disk / "run", directory / "failed")
        _mount("-o", "remount,rw,size=10m", disk)
        _train(disk / "run", directory / "finished")
        subprocess.run(["umount", disk], check=True)


def _mount(*arguments) -> None:
    subprocess.run(["mount", *arguments], check=True)


def _train(workdir: pathlib.Path, copy: pathlib.Path) -> None:
    with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.suppress(SystemExit):
        command_line._call(lambda: train(fakes.config(), workdir, strategy="one_device"))
    copy.with_suffix(".txt").write_text(errors.getvalue())
    if workdir.exists():
        shutil.copytree(workdir, copy)


if __name__ == "__main__":
    main()
