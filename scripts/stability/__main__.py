# SPDX-License-Identifier: Apache-2.0
"""Studies how stable trained members of the family are; writes a table, a figure, all numbers.

    python -m homoode_tf.compare --config=configs/compare_rates.py:digits --jobs=2
    python -m scripts.stability runs/compare_rates_digits [--output docs/results/stability]

Folders are those of comparisons or of runs. All runs count for the spread and the failures; those
at the learning rate --rate are measured. What was measured of a run is kept in --cache, so that the
same command goes on where it was stopped. Needs '.[train,plots,study]'.
"""

import argparse
import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks import reporting
from homoode_tf.disk import write_atomically
from scripts.stability import growth, measure, members
from scripts.stability.measure import Settings
from scripts.trained import open_run


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is not measured yet, and writes the study."""
    # Now, because without matplotlib it fails: measuring would be for nothing.
    from scripts.stability import figure, table

    parser = argparse.ArgumentParser(prog="python -m scripts.stability", description=__doc__)
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--data_dir", help="of the TFDS data sets")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/stability"))
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path("runs/stability-cache"))
    parser.add_argument("--rate", type=float, default=1e-3, help="of the runs that are measured")
    for field in dataclasses.fields(Settings):
        parser.add_argument(f"--{field.name}", type=int, default=field.default)
    options = parser.parse_args(arguments)
    settings = Settings(**{f.name: getattr(options, f.name) for f in dataclasses.fields(Settings)})

    found = members.find(options.folders)
    studied = [m for m in found if m.accuracy is not None and m.rate == options.rate]
    if not studied:
        rates = ", ".join(f"{rate:g}" for rate in sorted({m.rate for m in found}))
        parser.error(f"no run has the learning rate {options.rate:g}; there are {rates}")
    results: dict[str, Any] = {
        "machine": reporting.machine(),
        "settings": dataclasses.asdict(settings),
        "rate": options.rate,
        "training": [{**dataclasses.asdict(m), "folder": str(m.folder)} for m in found],
        "members": {},
    }
    for member in studied:
        print(f"[{member.folder}]", flush=True)
        one = _measured(member, settings, options)
        results["members"].setdefault(member.name, []).append({"seed": member.seed, **one})
    options.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1)
    write_atomically(options.output / "stability.json", text + "\n")
    results = json.loads(text)
    write_atomically(options.output / "table.md", table.render(results) + "\n")
    figure.draw(options.output / "stability.png", results)
    print(table.render(results))


def _measured(
    member: members.Member, settings: Settings, options: argparse.Namespace
) -> dict[str, Any]:
    """What is kept of a run, or what is measured now."""
    key = {"settings": dataclasses.asdict(settings), "folder": str(member.folder.resolve())}
    file = options.cache / f"{member.name}-seed{member.seed}.json"
    if file.exists() and (kept := json.loads(file.read_text("utf-8"))).pop("key") == key:
        return kept
    found = {
        "measured": measure.of_run(open_run(member.folder, options.data_dir), settings),
        "growth": growth.over_training(member.folder, options.data_dir),
    }
    options.cache.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps({"key": key, **found}) + "\n")
    return found


if __name__ == "__main__":
    main()
