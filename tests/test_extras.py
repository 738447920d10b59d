# SPDX-License-Identifier: Apache-2.0
import importlib
import sys

import pytest

from homoode_tf import commands, extras


@pytest.mark.parametrize(
    ("module", "extra"),
    [("PIL.Image", "train"), ("tensorflow_datasets", "train"), ("matplotlib", "plots")],
)
def test_a_command_names_the_extra_that_is_missing(monkeypatch, capsys, module, extra):
    def lack(_):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(importlib, "import_module", lack)
    monkeypatch.setattr(sys, "argv", ["/bin/homoode-train"])
    with pytest.raises(SystemExit, match="2"):
        commands.train()
    package = module.partition(".")[0]
    expected = f"{package} is not installed, which this needs: pip install 'homoode_tf[{extra}]'"
    assert capsys.readouterr().err == f"homoode-train: {expected}\n"


def test_other_modules_are_no_extras():
    with pytest.raises(ModuleNotFoundError, match="nonsense"), extras.explaining():
        importlib.import_module("nonsense")
