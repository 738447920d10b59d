# SPDX-License-Identifier: Apache-2.0
"""What does the learned initial point of a HomoODE change: evaluations, accuracy, the way to go?

    python -m homoode_tf.compare --config=configs/compare_digits.py --workdir=DIR
    python -m benchmarks.initial_point --workdir DIR

Reads the HomoODEs that a comparison has trained, by their best checkpoints, and solves the test
images anew by the recipe's adaptive solver, at several tolerances, without the first step that the
layer remembers from training. The weights trained with a learned point are also started from
other points, which tells the point's share from that of the dynamics that grew with it.
"""

import argparse
import collections
import pathlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import peers, reporting

_LEARNED = "homoode"
_TRAINED = {
    _LEARNED: "learned",
    "homoode_mean_z0": "running mean of z(T)",
    "homoode_fixed_z0": "fixed, alternating ±1",
    "homoode_zero_z0": "fixed, zeros",
}
_REPLACED = {
    "zeros": "learned, then replaced by zeros",
    "alternating": "learned, then replaced by ±1",
}
_HISTORY = ("nfe_forward", "validation_accuracy")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.initial_point")
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="of the comparison")
    parser.add_argument("--data_dir", help="where the data sets are (default: TFDS's own folder)")
    parser.add_argument(
        "--tolerances",
        type=float,
        nargs="+",
        default=[1e-2, 1e-3, 1e-4, 1e-5, 1e-6],
        help="rtol = atol",
    )
    parser.add_argument("--images", type=int, default=1024, help="test images, at most")
    parser.add_argument("--batch_size", type=int, default=32, help="images solved together")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/benchmarks"))
    arguments = parser.parse_args()
    missing = [name for name in _TRAINED if not _runs(arguments.workdir, name)]
    if missing:
        parser.error(f"--workdir {arguments.workdir} has no finished run of {', '.join(missing)}")
    return arguments


def main() -> None:
    arguments = _arguments()
    peers.require(["tensorflow", "matplotlib"])
    from benchmarks import figures

    found = collections.defaultdict(list)
    for model, label in _TRAINED.items():
        for folder in _runs(arguments.workdir, model):
            print(f"[{folder}]", flush=True)
            for replacement, measured in _measure_run(folder, model, arguments):
                found[_REPLACED.get(replacement, label)].append(measured)
    histories = {
        label: [_history(folder) for folder in _runs(arguments.workdir, model)]
        for model, label in _TRAINED.items()
    }
    results = {
        "machine": reporting.machine(),
        "tolerances": arguments.tolerances,
        "batch_size": arguments.batch_size,
        "points": dict(found),
        "histories": histories,
    }
    reporting.write(arguments.output, "initial_point", results, _report(results))
    figures.initial_points(
        arguments.output / "initial_point.png", arguments.tolerances, found, histories
    )


def _runs(workdir: pathlib.Path, model: str) -> list[pathlib.Path]:
    return [path.parent for path in sorted(workdir.glob(f"{model}/seed*/result.json"))]


def _measure_run(
    folder: pathlib.Path, model: str, arguments: argparse.Namespace
) -> Iterator[tuple[str | None, dict[str, list[float]]]]:
    """Solves from the run's own initial point and, where it was learned, from others instead."""
    replacements = (None, *_REPLACED) if model == _LEARNED else (None,)
    by_replacement = {name: collections.defaultdict(list) for name in replacements}
    for tolerance in arguments.tolerances:
        run = _restore(folder, arguments.data_dir, tolerance)
        channels = run.model.implicit.initial_point.value.shape[0]
        for name, measured in by_replacement.items():
            if name is not None:
                run.model.implicit.initial_point.value.assign(_point(name, channels))
            with run.state.averaged_weights():
                numbers = _measure(run, arguments.images, arguments.batch_size)
            for key, value in numbers.items():
                measured[key].append(value)
    yield from by_replacement.items()


def _restore(folder: pathlib.Path, data_dir: str | None, tolerance: float):
    from ml_collections import ConfigDict

    from homoode_tf.training.files.workdir import Workdir
    from homoode_tf.training.trained_run import restore_best

    workdir = Workdir(folder)
    config = ConfigDict(workdir.read_config())
    config.model.rtol = config.model.atol = tolerance
    run, _ = restore_best(config, workdir, data_dir, "one_device")
    # The step remembered from training is right for its tolerance alone: choose it anew.
    run.model.implicit.step_size.assign(0.0)
    return run


def _point(name: str, channels: int) -> np.ndarray:
    from homoode_tf.layers import initial_point

    layer = initial_point.get(name)
    layer.build((None, channels))
    return layer.value


def _measure(run, num_images: int, batch_size: int) -> dict[str, float]:
    """Mean evaluations of a forward solve, accuracy, and the mean length of the way to z(T)."""
    import tensorflow as tf

    model = run.model

    @tf.function(autograph=False)
    def solve(images):
        condition = model.stem(model.normalise(images), training=False)
        end = model.implicit(condition, training=False)
        start = model.implicit.initial_point(condition)
        squares = tf.square(tf.reshape(end - start, (tf.shape(end)[0], -1)))
        distance = tf.reduce_mean(tf.sqrt(tf.reduce_mean(squares, axis=1)))
        return tf.argmax(model.head(end, training=False), axis=-1), distance

    evaluations, correct, distances, sizes = [], 0, [], []
    for images, labels in run.images.evaluation_batches("test", batch_size):
        classes, distance = solve(images)
        evaluations.append(int(model.implicit.forward_nfe.value))
        correct += int(np.sum(classes.numpy() == labels.numpy()))
        distances.append(float(distance))
        sizes.append(len(labels))
        if sum(sizes) >= num_images:
            break
    return {
        "evaluations": float(np.average(evaluations, weights=sizes)),
        "accuracy": correct / sum(sizes),
        "distance": float(np.average(distances, weights=sizes)),
    }


def _history(folder: pathlib.Path) -> dict[str, dict[str, list[float]]]:
    from homoode_tf.plot import History
    from homoode_tf.training.files.workdir import Workdir

    history = History.read(Workdir(folder).metrics)
    series = {name: history.series(name) for name in _HISTORY}
    return {
        name: {"steps": one.steps.tolist(), "values": one.values.tolist()}
        for name, one in series.items()
    }


def _report(results: Mapping[str, Any]) -> str:
    tolerances = results["tolerances"]
    header = ["initial point", "runs", "rms z(T) - z0"]
    header += [f"NFE at {tolerance:g}" for tolerance in tolerances]
    header += [f"accuracy (%) at {tolerance:g}" for tolerance in tolerances]
    rows = []
    for label, runs in results["points"].items():
        row: list[Any] = [label, len(runs), statistics.fmean(run["distance"][-1] for run in runs)]
        row += [_spread([run["evaluations"][k] for run in runs], 1) for k in range(len(tolerances))]
        row += [
            _spread([100.0 * run["accuracy"][k] for run in runs], 2) for k in range(len(tolerances))
        ]
        rows.append(row)
    return (
        "The test images solved in batches of "
        f"{results['batch_size']} from the initial point named; means ± standard deviation over "
        f"the runs.\n\n{reporting.markdown_table(header, rows)}"
    )


def _spread(values: Sequence[float], digits: int) -> str:
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


if __name__ == "__main__":
    main()
