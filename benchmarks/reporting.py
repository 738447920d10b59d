# SPDX-License-Identifier: Apache-2.0
"""Markdown tables, the machine in words, and result files."""

import json
import os
import pathlib
import platform
import sys
from collections.abc import Sequence
from typing import Any


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Returns a Markdown table; numbers are right-aligned, None is a dash.

    Example: `markdown_table(["peer", "s"], [["ours", 0.5], ["theirs", None]])`.
    """
    cells = [list(map(str, header)), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [
        all(value is None or isinstance(value, int | float) for value in column)
        for column in zip(*rows, strict=True)
    ] or [False] * len(header)

    def line(values):
        padded = [
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(values, widths, numeric, strict=True)
        ]
        return "| " + " | ".join(padded) + " |"

    rule = [
        "-" * (width - right) + ":" * right for width, right in zip(widths, numeric, strict=True)
    ]
    return "\n".join([line(cells[0]), line(rule), *(line(row) for row in cells[1:])])


def _cell(value: Any) -> str:
    if value is None:
        return "–"  # noqa: RUF001
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


def machine() -> dict[str, Any]:
    """Returns what a reader must know of the machine."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    fields = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    return {
        "processor": fields.get("model name") or platform.processor() or platform.machine(),
        "bfloat16": bfloat16_instructions(fields.get("flags", "")),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "command": "python -m " + " ".join([_module_name(), *sys.argv[1:]]),
    }


def bfloat16_instructions(flags: str) -> str:
    """Says which of a processor's flags make it multiply in bfloat16."""
    found = [name for name in ("AMX_BF16", "AVX512_BF16") if name.lower() in flags.split()]
    return " and ".join(found) or "neither AMX_BF16 nor AVX512_BF16"


def _module_name() -> str:
    return "benchmarks." + pathlib.Path(sys.argv[0]).stem


def write(output: pathlib.Path, name: str, results: dict[str, Any], text: str) -> None:
    """Writes `name`.json and `name`.md to a folder, and prints the text."""
    output.mkdir(parents=True, exist_ok=True)
    (output / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (output / f"{name}.md").write_text(text + "\n")
    print(text)
    print(f"\nWritten to {output}/{name}.*")
