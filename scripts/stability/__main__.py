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
import sys
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks import reporting
from homoode_tf.disk import write_atomically
from scripts.stability import corruptions, growth, measure, members
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
    given = " ".join(sys.argv[1:] if arguments is None else arguments)
    settings = Settings(**{f.name: getattr(options, f.name) for f in dataclasses.fields(Settings)})

    found = members.find(options.folders)
    studied = [m for m in found if m.accuracy is not None and m.rate == options.rate]
    if not studied:
        rates = ", ".join(f"{rate:g}" for rate in sorted({m.rate for m in found}))
        parser.error(f"no run has the learning rate {options.rate:g}; there are {rates}")
    results: dict[str, Any] = {
        "machine": reporting.machine() | {"command": f"python -m scripts.stability {given}"},
        "settings": dataclasses.asdict(settings),
        "rate": options.rate,
        "training": [{**dataclasses.asdict(m), "folder": str(m.folder)} for m in found],
        "members": {},
    }
    study = Study(settings, options.data_dir, options.cache)
    for member in studied:
        print(f"[{member.folder}]", flush=True)
        one = {"seed": member.seed, **study.of(member)}
        results["members"].setdefault(member.name, []).append(one)
    options.output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1)
    write_atomically(options.output / "stability.json", text + "\n")
    results = json.loads(text)
    write_atomically(options.output / "table.md", table.render(results) + "\n")
    figure.draw(options.output / "stability.png", results)
    print(table.render(results))


class Study:
    """Measures runs of one data set, and keeps what was measured.

    Args:
        settings: How much is measured.
        data_dir: Of the TFDS data sets.
        cache: A folder, with one file a run.
    """

    def __init__(self, settings: Settings, data_dir: str | None, cache: pathlib.Path):
        self._settings, self._data_dir, self._cache = settings, data_dir, cache
        self._corrupted: corruptions.Corrupted | None = None

    def of(self, member: members.Member) -> dict[str, Any]:
        """What is kept of a run, or what is measured now: "measured" and "growth"."""
        folder = str(member.folder.resolve())
        key = {"settings": dataclasses.asdict(self._settings), "folder": folder}
        file = self._cache / f"{member.name}-seed{member.seed}.json"
        if file.exists() and (kept := json.loads(file.read_text("utf-8"))).pop("key") == key:
            return kept
        run = open_run(member.folder, self._data_dir)
        if self._corrupted is None:
            images, _ = run.test(self._settings.corrupted_images)
            self._corrupted = corruptions.Corrupted(images)
        found = {
            "measured": measure.of_run(run, self._settings, self._corrupted),
            "growth": growth.over_training(member.folder, self._data_dir),
        }
        self._cache.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps({"key": key, **found}) + "\n")
        return found


if __name__ == "__main__":
    main()
