# SPDX-License-Identifier: Apache-2.0
"""Does training wait for its images?

    python -m benchmarks.input_pipeline [--config configs/cifar10.py] [--data_dir DIR]
        [--sources memory streamed folder]

`memory` is the recipe's data set as it is by default, `streamed` the same read batch by batch from
its files, `folder` its first `--images` images as PNG files, streamed.

The training step of a recipe is timed with the recipe's own batches (TFDS data, shuffled and
augmented) and with one constant batch on the device, in turn in one process. The solver is replaced
by `--num_steps` equal steps of RK4: an adaptive one takes more or fewer steps for other images and
other weights, and its time would hide the pipeline's. So every step evaluates F equally often,
which is checked, and both sides may train the same weights on. The step is a short one (two steps
of RK4 evaluate F eight times), which makes it hard for the pipeline to keep up.

On a machine with other work times are noisy; the processor time of a step, of all threads, is less
so, and where the model runs on the CPU it holds all that a pipeline can cost besides waiting.

Exit status 1 says that the pipeline costs more than `--allowed` of a step.
"""

import argparse
import importlib.util
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator

import tensorflow as tf
from PIL import Image

from benchmarks import reporting
from homoode_tf import data
from homoode_tf.training.files.workdir import Workdir
from homoode_tf.training.run import Run
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.step import make_train_step

_SIDES = ("pipeline", "constant batch")
_SOURCES = ("memory", "streamed", "folder")
# The first steps fill the queues of the pipeline, which a later one then finds full.
_STEPS_BEFORE = 3
_TIMES_ALONE = 10


class ConstantBatch:
    """Yields one batch for ever; within a `tf.function` it is a constant of the graph."""

    def __init__(self, batch: tuple[tf.Tensor, tf.Tensor]):
        self._batch = batch

    def __iter__(self) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        return self

    def __next__(self) -> tuple[tf.Tensor, tf.Tensor]:
        return self._batch


class Bench:
    """The training step of a run, fed by either side.

    Args:
        run: A run on one device, as `Run` builds it.
        total_steps: How many batches of the pipeline are asked for at most.
    """

    def __init__(self, run: Run, total_steps: int):
        if run.strategy.num_replicas_in_sync > 1:
            raise ValueError("One batch on one device is timed: give a strategy of one replica.")
        self._run = run
        self._step = make_train_step(run.state, run.settings)
        self._batches = {
            _SIDES[0]: self.pipeline(total_steps),
            _SIDES[1]: ConstantBatch(next(self.pipeline(1))),
        }

    def pipeline(self, num_steps: int) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """Returns the recipe's own first batches."""
        return self._run.inputs.train(0, num_steps)

    def steps(self, side: str, number: int) -> dict[str, float]:
        """Makes training steps fed by a side of `_SIDES`.

        Returns:
            "seconds" and "processor" (seconds of all threads) a step, and the mean evaluations of
            F in a step, "forward" and "backward".
        """
        state, batches = self._run.state, self._batches[side]
        state.epoch_metrics.reset()
        start, processor = time.perf_counter(), time.process_time()
        for _ in range(number):
            self._step(batches)
        means = state.epoch_metrics.means()  # waits for the device
        return {
            "seconds": (time.perf_counter() - start) / number,
            "processor": (time.process_time() - processor) / number,
            "forward": means["nfe_forward"],
            "backward": means["nfe_backward"],
        }


def measure(run: Run, rounds: int, num_steps: int) -> dict:
    """Measures both sides in turn, and then the pipeline alone.

    Args:
        run: A run whose solver takes a fixed number of steps.
        rounds: How many times each side is measured.
        num_steps: Training steps of one measurement.

    Returns:
        For each side of `_SIDES` what `Bench.steps` returned in each round, and under "alone" the
        seconds of a batch that nothing uses, in ten measurements.

    Raises:
        RuntimeError: If some steps evaluated F more often than others.
    """
    bench = Bench(run, _STEPS_BEFORE + rounds * num_steps)
    for side in _SIDES:
        bench.steps(side, _STEPS_BEFORE)  # traces and compiles
    results = {side: [] for side in _SIDES}
    for number in range(rounds):
        for side in _SIDES if number % 2 else reversed(_SIDES):
            results[side].append(bench.steps(side, num_steps))
    counts = {(row["forward"], row["backward"]) for side in _SIDES for row in results[side]}
    if len(counts) > 1:
        raise RuntimeError(f"All steps must evaluate F equally often, but did {sorted(counts)}.")
    results["alone"] = [_seconds_a_batch(bench, num_steps) for _ in range(_TIMES_ALONE)]
    return results


def _seconds_a_batch(bench: Bench, number: int) -> float:
    batches = bench.pipeline(_STEPS_BEFORE + number)
    for _ in range(_STEPS_BEFORE):
        next(batches)
    start = time.perf_counter()
    for _ in range(number):
        next(batches)
    return (time.perf_counter() - start) / number


def cost(results: dict, what: str = "seconds") -> float:
    """Returns the pipeline's share of a step: the median over rounds of the ratio, less one.

    Args:
        results: What `measure` returns.
        what: "seconds", or "processor" for the processor time.
    """
    pairs = zip(*(results[side] for side in _SIDES), strict=True)
    return statistics.median(fed[what] / constant[what] for fed, constant in pairs) - 1.0


def report(results: dict) -> str:
    """Returns the report as Markdown."""
    machine, batch_size = results["machine"], results["batch_size"]
    rows = []
    for side in _SIDES:
        seconds = [row["seconds"] for row in results[side]]
        processor = statistics.median(row["processor"] for row in results[side])
        rows.append([side, statistics.median(seconds), min(seconds), max(seconds), processor])
    count = results[_SIDES[0]][0]
    alone = statistics.median(results["alone"])
    header = ["fed by", "step (s), median", "least", "most", "processor time (s), median"]
    return (
        f"`{machine['command']}` on {machine['processor']}, {machine['cores']} core(s); batch "
        f"{batch_size} of {results['dataset']}, {count['forward']:g} + {count['backward']:g} "
        f"evaluations of F a step, {len(results[_SIDES[0]])} rounds of {results['num_steps']} "
        f"steps in turn.\n\n{reporting.markdown_table(header, rows)}\n\n"
        f"The pipeline costs {100 * cost(results):+.2f} % of a step's time and "
        f"{100 * cost(results, 'processor'):+.2f} % of its processor time (medians of the rounds' "
        f"ratios). Alone it makes a batch in {1000 * alone:.2f} ms, {batch_size / alone:,.0f} "
        f"images/s; a step takes {rows[1][1] / alone:.0f} times as long."
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.input_pipeline")
    parser.add_argument("--config", type=pathlib.Path, default=pathlib.Path("configs/cifar10.py"))
    parser.add_argument("--data_dir", help="TFDS folder; TFDS's own if not given")
    parser.add_argument("--sources", nargs="+", default=["memory"], choices=_SOURCES)
    parser.add_argument("--images", type=int, default=5000, help="of --sources folder")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--steps", type=int, default=2, help="training steps a measurement")
    parser.add_argument("--num_steps", type=int, default=2, help="of RK4")
    parser.add_argument("--batch_size", type=int, help="the recipe's if not given")
    parser.add_argument("--allowed", type=float, default=0.05, help="of a step")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/benchmarks"))
    arguments = parser.parse_args()
    if not arguments.config.is_file():
        parser.error(f"--config must be a file, got {arguments.config}")
    if min(arguments.rounds, arguments.steps, arguments.num_steps) < 1:
        parser.error("--rounds, --steps and --num_steps must be positive")
    return arguments


def read_config(path: pathlib.Path, num_steps: int, batch_size: int | None = None):
    """Returns a recipe with its solver replaced by equal steps of RK4."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config()
    config.model.update({"solver": "rk4", "num_steps": num_steps})
    if batch_size is not None:
        config.batch_size = batch_size
    return config


def take_from(source: str, config, data_dir: str | None, number: int, folder: pathlib.Path) -> None:
    """Changes a recipe's config to one of the sources; writes the images where they are files."""
    if source != "memory":
        config.cache_megabytes = 0
    if source != "folder":
        return
    images = data.load(config.dataset, data_dir=data_dir, cache_megabytes=0)
    batches = images.train_batches(1, seed=0, num_steps=min(number, images.info.num_train))
    for index, (image, label) in enumerate(batches.as_numpy_iterator()):
        path = folder / f"class {label[0]:03d}" / f"{index:06d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image[0].squeeze(-1) if image.shape[-1] == 1 else image[0]).save(path)
    config.dataset = f"folder:{folder}"


def main() -> int:
    arguments, costs = _arguments(), []
    for source in arguments.sources:
        config = read_config(arguments.config, arguments.num_steps, arguments.batch_size)
        name, suffix = config.dataset, "" if source == "memory" else f"_{source}"
        with tempfile.TemporaryDirectory() as images, tempfile.TemporaryDirectory() as workdir:
            take_from(source, config, arguments.data_dir, arguments.images, pathlib.Path(images))
            settings = TrainingSettings.from_config(config)
            run = Run(settings, Workdir(workdir), arguments.data_dir, "one_device")
            results = {
                "machine": reporting.machine(),
                "dataset": f"{name}, {source}",
                "batch_size": config.batch_size,
                "num_steps": arguments.steps,
                **measure(run, arguments.rounds, arguments.steps),
            }
        reporting.write(arguments.output, f"input_pipeline{suffix}", results, report(results))
        costs.append(cost(results))
    return 0 if max(costs) <= arguments.allowed else 1


if __name__ == "__main__":
    sys.exit(main())
