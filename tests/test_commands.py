# SPDX-License-Identifier: Apache-2.0
import contextlib
import importlib
import runpy
import sys

import pytest

from homoode_tf import __version__, commands


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


@pytest.mark.parametrize(
    ("flags", "said"), [(["--version"], f"homoode_tf {__version__}\n"), ([], "  homoode-predict ")]
)
def test_the_package_says_its_version_and_its_commands(monkeypatch, capsys, flags, said):
    monkeypatch.setattr(sys, "argv", ["homoode_tf", *flags])
    with contextlib.suppress(SystemExit):
        runpy.run_module("homoode_tf", run_name="__main__")
    assert said in capsys.readouterr().out
