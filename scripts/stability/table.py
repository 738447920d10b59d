# SPDX-License-Identifier: Apache-2.0
"""The table of the study, one line a member."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.reporting import markdown_table
from scripts.stability.solver_dependence import TIMES, TOLERANCES

_NOTHING = "–"  # noqa: RUF001
# What the columns show of the ranges that were measured.
SIGMA, EPSILON, TOLERANCE = "0.2", "2", TOLERANCES.index(1e-2)


def render(results: Mapping[str, Any]) -> str:
    """The table of what `stability.json` holds, in Markdown."""
    rows = [_row(name, results) for name in results["members"]]
    names = [name for name in rows[0] if any(row[name] != _NOTHING for row in rows)]
    return markdown_table(names, [[row[name] for name in names] for row in rows])


def _row(name: str, results: Mapping[str, Any]) -> dict[str, str]:
    trained = [run for run in results["training"] if run["name"] == name]
    own = [run for run in trained if run["rate"] == results["rate"]]
    runs = results["members"][name]
    measured = [run["measured"] for run in runs]
    grown = [run["growth"] for run in runs]
    return {
        "member": name,
        "accuracy (%)": spread(percent(run["accuracy"] for run in own)),
        "failed runs": f"{sum(run['why'] is not None for run in trained)} of {len(trained)}",
        "evaluations, first and last tenth": _ends([one["evaluations"] for one in grown], ".1f"),
        "residual, first and last": _ends([one["residuals"] for one in grown], ".3g", share=0.0),
        f"Gaussian noise {SIGMA}": spread(percent(m["gaussian"][SIGMA] for m in measured)),
        "15 corruptions": spread(
            percent(np.mean(list(m["corruptions"].values())) for m in measured)
        ),
        f"FGSM {EPSILON}/255": spread(percent(m["fgsm"][EPSILON] for m in measured)),
        f"PGD {EPSILON}/255": spread(percent(m["pgd"][EPSILON] for m in measured)),
        "answers changed by tolerance 1e-2": spread(
            percent(m["tolerance"]["changed"][TOLERANCE] for m in measured if m["tolerance"])
        ),
        "by its own steps": spread(
            # Studies from before it was measured have none.
            percent(
                m["tolerance"].get("own", {}).get("changed") for m in measured if m["tolerance"]
            )
        ),
        **{
            f"at {factor:g} T": spread(
                percent(m["time"]["accuracy"][number] for m in measured if m["time"])
            )
            for number, factor in enumerate(TIMES)
            if factor != 1.0
        },
        "norm of the Jacobian at T": spread([m["jacobian"]["norm"][-1] for m in measured], 1),
    }


def percent(shares) -> list[float]:
    """Shares in per cent; those that are missing are left out."""
    return [100.0 * share for share in shares if share is not None]


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean ± sample standard deviation; a dash of nothing."""
    if not values:
        return _NOTHING
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def _ends(series: Sequence[Sequence[float]], digits: str, share: float = 0.1) -> str:
    """The mean over runs of the first and of the last `share` of a series, at least one value."""
    firsts, lasts = [], []
    for values in series:
        some = max(1, int(share * len(values)))
        firsts.append(float(np.mean(values[:some])))
        lasts.append(float(np.mean(values[-some:])))
    return f"{np.mean(firsts):{digits}} → {np.mean(lasts):{digits}}"
