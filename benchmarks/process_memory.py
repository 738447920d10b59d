# SPDX-License-Identifier: Apache-2.0
"""The resident memory of this process, now and at its highest (Linux)."""

import pathlib

_STATUS = pathlib.Path("/proc/self/status")
_CLEAR = pathlib.Path("/proc/self/clear_refs")


def resident_mib() -> float:
    """Returns the resident set's size in MiB."""
    return _field("VmRSS")


def peak_mib() -> float:
    """Returns the resident set's high-water mark in MiB, since the start or `reset_peak`."""
    return _field("VmHWM")


def reset_peak() -> None:
    """Forgets the high-water mark, so that what an import needed is not taken for the step's."""
    _CLEAR.write_text("5")


def _field(name: str) -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"{_STATUS} has no field {name}.")
