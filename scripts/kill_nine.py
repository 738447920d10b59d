# SPDX-License-Identifier: Apache-2.0
"""Does a run that is killed again and again end where an uninterrupted one does?

    python -m scripts.kill_nine [--kills 20] [--workdir runs/kill_nine] [-- FLAGS OF train.py]

Trains twice with `--deterministic`: once without disturbance, and once with so many `kill -9` at
random moments, each followed by the same command. Then compares the two last checkpoints bit for
bit. Exit status 0 if they are equal, 1 if not.
"""

import argparse
import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

_TRAIN = [sys.executable, str(pathlib.Path(__file__).resolve().parents[1] / "train.py")]
# Often enough that a killed run gets on.
_FLAGS = ["--deterministic", "--config.checkpoint_every_steps=20"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.kill_nine")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--longest", type=float, default=40.0, help="seconds until a kill, at most")
    parser.add_argument(
        "--from_checkpoint", action="store_true", help="count them from the next checkpoint on"
    )
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("runs/kill_nine"))
    parser.add_argument("flags", nargs="*", help="of train.py, after --")
    options = parser.parse_args(arguments)
    shutil.rmtree(options.workdir, ignore_errors=True)
    whole, killed = (Run(options.workdir / name, options.flags) for name in ("whole", "killed"))
    moments = random.Random(options.seed)
    kills = 0
    while kills < options.kills and killed.kill_after(
        moments.uniform(0.0, options.longest), options.from_checkpoint
    ):
        kills += 1
        print(f"killed {kills} times; last whole checkpoint: {killed.last_step()}", flush=True)
    for run in (killed, whole):
        print(f"training {run.workdir} to its end", flush=True)
        run.finish()
    differences = compare(whole.last_variables(), killed.last_variables())
    results = [run.result() for run in (whole, killed)]
    accuracies = " and ".join(f"{result['test_accuracy']:.2%}" for result in results)
    print(
        f"{kills} times kill -9, {results[0]['steps']} steps: {len(differences)} of "
        f"{len(whole.last_variables())} variables differ; test accuracies {accuracies}."
    )
    for name, difference in differences.items():
        print(f"  {name}: {difference:.3g}")
    return 1 if differences or kills < options.kills else 0


class Run:
    """One run of `train.py`.

    Args:
        workdir: Its folder.
        flags: More flags.
    """

    def __init__(self, workdir: pathlib.Path, flags: Sequence[str]):
        self.workdir = workdir
        self._command = [*_TRAIN, *_FLAGS, *flags, f"--workdir={workdir}"]
        workdir.mkdir(parents=True)

    def kill_after(self, seconds: float, from_checkpoint: bool = False) -> bool:
        """Starts it and kills it; returns False if it ended by itself before."""
        before = self._checkpoints()
        with (self.workdir / "log.txt").open("a") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=log)
            while from_checkpoint and self._checkpoints() == before and process.poll() is None:
                time.sleep(0.01)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                return process.wait() == -signal.SIGKILL
        if process.returncode:
            raise SystemExit(f"{self.workdir} failed; see {self.workdir / 'log.txt'}")
        return False

    def finish(self) -> None:
        """Runs it to its end."""
        start = time.monotonic()
        with (self.workdir / "log.txt").open("a") as log:
            subprocess.run(self._command, stdout=log, stderr=log, check=True)
        print(f"{time.monotonic() - start:.0f} s", flush=True)

    def last_step(self) -> str:
        """Returns the name of its last checkpoint."""
        return self._checkpoints()[-1].name if self._checkpoints() else "none yet"

    def last_variables(self) -> dict[str, np.ndarray]:
        """Returns all variables of its last checkpoint."""
        reader = tf.train.load_checkpoint(str(self._checkpoints()[-1] / "state"))
        names = reader.get_variable_to_shape_map()
        return {name: reader.get_tensor(name) for name in names if not name.startswith("_")}

    def result(self) -> dict:
        """Returns what stands in its `result.json`."""
        return json.loads((self.workdir / "result.json").read_text())

    def _checkpoints(self) -> list[pathlib.Path]:
        return sorted(self.workdir.glob("checkpoints/step-*"))


def compare(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> dict[str, float]:
    """Returns the variables that are not equal bit for bit, with their largest difference."""
    if first.keys() != second.keys():
        raise SystemExit("the two checkpoints hold different variables")
    return {
        name: float(np.max(np.abs(value.astype(np.float64) - second[name].astype(np.float64))))
        for name, value in first.items()
        if value.tobytes() != second[name].tobytes()
    }


if __name__ == "__main__":
    sys.exit(main())
