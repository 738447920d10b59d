# SPDX-License-Identifier: Apache-2.0
"""What came of a comparison: the members' results as means over seeds, and as a table."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from homoode_tf.report.compare.experiment import Experiment
from homoode_tf.training.files.workdir import Workdir
from homoode_tf.training.watch.metrics import read_metrics

_MEANS = ("nfe_forward", "nfe_backward", "peak_memory_mb", "seconds")


def summarise(experiment: Experiment) -> dict[str, Any]:
    """Gathers what the members have left so far.

    Args:
        experiment: The comparison.

    Returns:
        "dataset" and "models": for each model "parameters", "initial_point_parameters",
        "test_accuracies" (one a seed), their "mean" and "deviation" (sample standard deviation;
        None for less than two), the means over seeds of nfe_forward and nfe_backward (of the last
        epoch), "nfe_forward_whole" and "nfe_backward_whole" (of the whole training),
        peak_memory_mb, seconds, "seconds_per_step", "failures" (messages) and "curves" (the lines
        of metrics.jsonl, one list a seed).

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
    outcomes = [member.outcome() or {} for member in members]
    complete = [outcome for outcome in outcomes if "test_accuracy" in outcome]
    accuracies = [outcome["test_accuracy"] for outcome in complete]
    paths = [Workdir(member.workdir).metrics for member in members]
    curves = [read_metrics(path) if path.exists() else [] for path in paths]
    batch_size = experiment.config_of(name).batch_size
    parameters, of_initial_point = experiment.parameters[name]
    return {
        "parameters": parameters,
        "initial_point_parameters": of_initial_point,
        "test_accuracies": accuracies,
        "mean": _mean(accuracies),
        "deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        **{field: _mean([outcome[field] for outcome in complete]) for field in _MEANS},
        "nfe_forward_whole": _mean([_mean_of_lines(c, "nfe_forward") for c in curves if c]),
        "nfe_backward_whole": _mean([_mean_of_lines(c, "nfe_backward") for c in curves if c]),
        "seconds_per_step": _mean([batch_size / o["examples_per_second"] for o in complete]),
        "failures": [outcome["failure"] for outcome in outcomes if "failure" in outcome],
        "curves": curves,
    }


def markdown_table(results: Mapping[str, Any]) -> str:
    """Returns the comparison as a Markdown table, one line a model."""
    rows = []
    for name, row in results["models"].items():
        forward, backward = _number(row["nfe_forward_whole"]), _number(row["nfe_backward_whole"])
        cells = {
            "model": name,
            "test accuracy (%)": _percent(row["mean"], row["deviation"]),
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


def _mean_of_lines(lines: Sequence[Mapping[str, float]], field: str) -> float:
    """The mean over steps: a line stands for the steps since the one before it."""
    steps = [0, *(line["step"] for line in lines)]
    weights = [after - before for before, after in itertools.pairwise(steps)]
    total = sum(weight * line[field] for weight, line in zip(weights, lines, strict=True))
    return total / steps[-1]


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"  # noqa: RUF001


def _percent(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return _number(None)
    text = f"{100.0 * mean:.2f}"
    return text if deviation is None else f"{text} ± {100.0 * deviation:.2f}"
