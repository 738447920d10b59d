# SPDX-License-Identifier: Apache-2.0
"""A peer in a process of its own: both ends of a line protocol over pipes.

The parent writes one JSON object a line, and reads one for each:

    {"do": "forward", "batch": 3}    {"seconds": ..., "evaluations": [forward, backward]}
    {"do": "step", "batch": 3}       the same and "loss"
                                     a floor is told "evaluations" in both, and has no loss
    {"do": "compare", "batch": 3, "images": 16, "path": ...}
                                     {}; logits and gradients of 16 images are in the file at path
    {"do": "reset"}                  {}
    {"do": "report"}                 {"idle_mib", "peak_mib", "versions", "device"}
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
import traceback

import numpy as np

from benchmarks import image_batches, peers, process_memory


class PeerProcess:
    """The parent's end: starts a peer and asks it for work.

    Args:
        spec: What to run.
        folder: Where `weights.npz`, the batches, and the peer's log are.

    Raises:
        RuntimeError: From any method, if the peer has failed; with the end of its log.
    """

    def __init__(self, spec: peers.PeerSpec, folder: pathlib.Path):
        self.spec = spec
        self._log_path = folder / (spec.key.replace("/", "-").replace(" ", "_") + ".log")
        arguments = json.dumps({"folder": str(folder), "spec": dataclasses.asdict(spec)})
        with self._log_path.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.peer_process", arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **spec.environment},
            )
        self._read()

    def forward(self, batch: int, **more) -> dict:
        return self._ask(do="forward", batch=batch, **more)

    def step(self, batch: int, **more) -> dict:
        return self._ask(do="step", batch=batch, **more)

    def compare(self, batch: int, images: int) -> dict[str, np.ndarray]:
        """Returns the gradients by name for so many images, and the logits under "logits"."""
        path = self._log_path.with_suffix(".npz")
        self._ask(do="compare", batch=batch, images=images, path=str(path))
        with np.load(path) as arrays:
            return dict(arrays)

    def reset(self) -> None:
        self._ask(do="reset")

    def report(self) -> dict:
        return self._ask(do="report")

    def __enter__(self) -> "PeerProcess":
        return self

    def __exit__(self, *_) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _ask(self, **question) -> dict:
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the peer has ended; reading says why
        return self._read()

    def _read(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            end = "\n".join(self._log_path.read_text().splitlines()[-12:])
            raise RuntimeError(f"The peer {self.spec.key} has ended. The end of its log:\n{end}")
        return json.loads(line)


def _serve(peer, images: np.ndarray, labels: np.ndarray, answers) -> None:
    """The child's end: answers until its input closes."""
    idle = None

    def answer(**fields):
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    answer()
    for line in sys.stdin:
        question = json.loads(line)
        what = question["do"]
        if what in ("forward", "step", "compare"):
            number = question["batch"]
            size = question.get("images")
            batch = peer.place(np.array(images[number, :size]), np.array(labels[number, :size]))
            if idle is None:
                idle = process_memory.resident_mib()
                process_memory.reset_peak()
        if what in ("forward", "step"):
            more = {"evaluations": question["evaluations"]} if "evaluations" in question else {}
            start = time.perf_counter()
            result = getattr(peer, what)(batch, **more)
            seconds = time.perf_counter() - start
            loss = {"loss": result} if what == "step" else {}
            answer(seconds=seconds, evaluations=peer.evaluations(), **loss)
        elif what == "compare":
            np.savez(question["path"], logits=peer.forward(batch), **peer.gradients(batch))
            answer()
        elif what == "reset":
            peer.reset()
            answer()
        elif what == "report":
            peak = process_memory.peak_mib()
            device = peer.device() if hasattr(peer, "device") else None
            answer(idle_mib=idle, peak_mib=peak, versions=peer.versions, device=device)


def _main() -> None:
    arguments = json.loads(sys.argv[1])
    folder, spec = pathlib.Path(arguments["folder"]), peers.PeerSpec(**arguments["spec"])
    # Frameworks disagree on how to be told the number of threads; all heed the cores they may use.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: spec.threads])
    # Whatever a framework prints goes to the log.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        with np.load(folder / "weights.npz") as weights:
            peer = peers.make(spec, dict(weights))
        _serve(peer, *image_batches.read_batches(folder), answers)
    except Exception:
        traceback.print_exc()
        sys.exit(1)


if __name__ == "__main__":
    _main()
