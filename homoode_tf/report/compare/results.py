# SPDX-License-Identifier: Apache-2.0
"""What came of a comparison: the members' results as means over seeds, and as a table."""

import itertools
import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from homoode_tf.errors import InvalidValueError
from homoode_tf.report.compare import differences, run_files
from homoode_tf.report.compare.experiment import Experiment
from homoode_tf.training.files.workdir import Workdir, WorkdirError

_MEANS = ("nfe_forward", "nfe_backward", "peak_memory_mb", "seconds")


def summarise(experiment: Experiment) -> dict[str, Any]:
    """Gathers what the members have left so far.

    Args:
        experiment: The comparison.

    Returns:
        "dataset" and "models": for each model "parameters", "initial_point_parameters",
        "test_accuracies" (one a seed), their "mean" and "deviation" (sample standard deviation;
        None for less than two), the same "by_seed" (from seeds to accuracies),
        "validation_accuracies" and their "validation_mean", the means over seeds of nfe_forward and
        nfe_backward (of the last epoch), "nfe_forward_whole" and "nfe_backward_whole" (of the whole
        training), peak_memory_mb, seconds, "seconds_per_step", "failures" (messages) and "curves"
        (the lines of metrics.jsonl, one list a seed).

    Example:
        >>> from configs import compare_digits
        >>> summary = summarise(Experiment(compare_digits.get_config(), "runs/compare"))
        >>> summary["models"]["homoode"]["test_accuracies"]  # no member has run here
        []
    """
    names = experiment.model_names
    return {
        "dataset": experiment.dataset,
        "models": {name: _results_of_model(experiment, name) for name in names},
    }


def _results_of_model(experiment: Experiment, name: str) -> dict[str, Any]:
    members = [member for member in experiment.members if member.model == name]
    outcomes, curves = {}, []
    for member in members:
        folder, outcome = Workdir(member.workdir), member.outcome() or {}
        try:
            curves.append(run_files.read_curve(folder))
            if "test_accuracy" in outcome:
                run_files.check_result(folder, outcome)
        except WorkdirError as error:  # The others are still to be compared.
            outcome = {"failure": str(error)}
        outcomes[member.seed] = outcome
    return _row(
        outcomes,
        curves,
        parameters=experiment.parameters[name],
        batch_size=experiment.config_of(name).batch_size,
    )


def of_runs(workdirs: Sequence[str | os.PathLike]) -> dict[str, Any]:
    """Gathers the same of finished runs, each a row of its own by the name of its folder.

    Raises:
        WorkdirError: If a folder holds no finished run, or a file of it is damaged.
        InvalidValueError: If the runs are of different data sets, or one is given twice.
    """
    if not all(map(os.fspath, workdirs)):
        raise InvalidValueError("a run to compare must be a folder, got an empty name.")
    folders = [Workdir(workdir) for workdir in workdirs]
    paths = [folder.directory.resolve() for folder in folders]
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [str(folder.directory) for folder in folders]
    if len(set(paths)) < len(paths):
        raise InvalidValueError(f"a run can be compared once only, got {', '.join(names)}.")
    rows, datasets = {}, {}
    for name, folder in zip(names, folders, strict=True):
        config, result = run_files.read_finished(folder)
        datasets[name] = result["dataset"]
        parameters = result["parameters"], result["initial_point_parameters"]
        curves = [run_files.read_curve(folder)]
        rows[name] = _row({config["seed"]: result}, curves, parameters, config["batch_size"])
    if len(set(datasets.values())) > 1:
        listed = ", ".join(f"{name} of {dataset}" for name, dataset in datasets.items())
        raise InvalidValueError(f"runs of different data sets cannot be compared: {listed}.")
    return {"dataset": next(iter(datasets.values())), "models": rows}


def _row(
    outcomes: Mapping[int, Mapping[str, Any]],
    curves: Sequence[list[dict[str, Any]]],
    parameters: tuple[int, int],
    batch_size: int,
) -> dict[str, Any]:
    by_seed = {s: o["test_accuracy"] for s, o in outcomes.items() if "test_accuracy" in o}
    complete, accuracies = [outcomes[seed] for seed in by_seed], list(by_seed.values())
    validation = [outcome["validation_accuracy"] for outcome in complete]
    # A run of one step has no speed: the first one is not timed.
    speeds = [o["examples_per_second"] for o in complete if o["examples_per_second"]]
    return {
        "parameters": parameters[0],
        "initial_point_parameters": parameters[1],
        "test_accuracies": accuracies,
        "mean": _mean(accuracies),
        "deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "by_seed": by_seed,
        "validation_accuracies": validation,
        "validation_mean": _mean(validation),
        # Null where a run skipped all steps of its last epoch.
        **{f: _mean([o[f] for o in complete if o[f] is not None]) for f in _MEANS},
        "nfe_forward_whole": _mean_of_curves(curves, "nfe_forward"),
        "nfe_backward_whole": _mean_of_curves(curves, "nfe_backward"),
        "seconds_per_step": _mean([batch_size / speed for speed in speeds]),
        "failures": [o["failure"] for o in outcomes.values() if "failure" in o],
        "curves": curves,
    }


def markdown_table(results: Mapping[str, Any], against: str | None = None) -> str:
    """Returns the comparison as a Markdown table, one line a model.

    Args:
        results: What `summarise` or `of_runs` returns.
        against: A model with which a column compares the others, by `differences.against`.
    """
    compared = differences.against(results, against) if against else {}
    rows = []
    for name, row in results["models"].items():
        forward, backward = _number(row["nfe_forward_whole"]), _number(row["nfe_backward_whole"])
        cells = {
            "model": name,
            "test accuracy (%)": _percent(row["mean"], row["deviation"]),
            **({f"against {against} (%)": _signed(compared[name])} if against else {}),
            "validation (%)": _percent(row["validation_mean"], None),
            "parameters (+ z0)": f"{row['parameters']:,} (+ {row['initial_point_parameters']})",
            "NFE forward + backward": f"{forward} + {backward}",
            "seconds a step": _number(row["seconds_per_step"], 3),
            "peak memory (MB)": _number(row["peak_memory_mb"], 0),
            "runs": str(len(row["test_accuracies"])),
            "failed": str(len(row["failures"])),
        }
        rows.append(list(cells.values()))
    lines = [list(cells), ["---", *["---:"] * (len(cells) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _mean_of_curves(curves: Sequence[Sequence[Mapping[str, Any]]], field: str) -> float | None:
    """The mean of the runs' means over steps: a line stands for the steps since the one before.

    One whose steps were all skipped has null; a run of nothing else has no mean.
    """
    means = []
    for lines in curves:
        steps = [0, *(line["step"] for line in lines)]
        weights = [after - before for before, after in itertools.pairwise(steps)]
        pairs = [(w, line[field]) for w, line in zip(weights, lines, strict=True)]
        pairs = [(weight, value) for weight, value in pairs if value is not None]
        if pairs:
            total = sum(weight for weight, _ in pairs)
            means.append(sum(weight * value for weight, value in pairs) / total)
    return _mean(means)


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"  # noqa: RUF001


def _signed(difference: differences.Difference | None) -> str:
    if difference is None:
        return _number(None)
    text = f"{100.0 * difference.mean:+.2f}"
    width = difference.half_width
    return text if width is None else f"{text} ± {100.0 * width:.2f}"


def _percent(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return _number(None)
    text = f"{100.0 * mean:.2f}"
    return text if deviation is None else f"{text} ± {100.0 * deviation:.2f}"
