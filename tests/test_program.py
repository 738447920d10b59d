# SPDX-License-Identifier: Apache-2.0
import importlib
import sys

import pytest

COMMANDS = {
    "predict": ("serving.predict.command", ["--saved_model=nowhere", "image.png"]),
    "convert": (
        "serving.convert.command",
        ["--saved_model=nowhere", "--format=onnx", "--output=x"],
    ),
    "plot": ("report.plot.command", ["--workdir=nowhere"]),
}


@pytest.mark.parametrize("called", ["/bin/homoode-{}", "C:\\homoode-{}.exe", "homoode_tf/{}.py"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_speaks_by_the_name_it_was_called(monkeypatch, capsys, called, command):
    monkeypatch.setattr(sys, "argv", [called.format(command).rpartition("\\")[2]])
    name = f"homoode-{command}" if "homoode-" in called else f"python -m homoode_tf.{command}"
    module, flags = COMMANDS[command]
    main = importlib.import_module(f"homoode_tf.{module}").main
    assert main(flags) == 2
    assert capsys.readouterr().err.startswith(f"{name}: ")
    with pytest.raises(SystemExit, match="2"):
        main([*flags, "--nonsense"])
    assert capsys.readouterr().err.startswith(f"usage: {name} [-h]")
