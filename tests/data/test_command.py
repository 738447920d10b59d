# SPDX-License-Identifier: Apache-2.0
import sys

import pytest

from homoode_tf import data
from homoode_tf.data.__main__ import main


@pytest.fixture
def no_network(monkeypatch):
    """Sends every connection to a port where nobody listens."""
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)


def test_says_what_was_written_and_where(tmp_path, capsys, no_network):
    assert main(["digits", "--data_dir", str(tmp_path)]) == 0
    expected = f"digits/1.0.0: images of 8x8x1, train 1437, test 360, in {tmp_path}/digits/1.0.0\n"
    assert capsys.readouterr().out == expected
    assert main(["digits", "--data_dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == expected


def test_what_is_there_needs_no_network(cifar10_dir, capsys, no_network):
    assert main(["cifar10", "--data_dir", str(cifar10_dir)]) == 0
    assert "images of 32x32x3, train 203, test 37" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "svhn_cropped", "cifar10", "cifar100"])
def test_without_a_network_it_says_so_at_once(name, tmp_path, capsys, no_network):
    assert main([name, "--data_dir", str(tmp_path)]) == 1
    errors = capsys.readouterr().err
    assert f"{name}: could not be prepared: cannot reach http" in errors
    assert "with a network" in errors


def test_one_failure_does_not_stop_the_others(tmp_path, capsys, no_network):
    assert main(["tiny_imagenet", "digits", "--data_dir", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "digits/1.0.0" in captured.out
    assert f"{tmp_path}/downloads/manual" in captured.err
    assert "Download tiny-imagenet-200.zip" in captured.err


def test_an_unknown_name_stops_before_anything_is_prepared(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["digits", "cifar11", "--data_dir", str(tmp_path)])
    assert stop.value.code == 2
    assert "known: digits, mnist" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_help_lists_the_data_sets(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    words = capsys.readouterr().out.replace(",", " ").replace(".", " ").split()
    assert set(data.names()) <= set(words)


def test_a_missing_package_is_one_line_with_its_extra(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert main(["digits", "--data_dir", str(tmp_path)]) == 1
    reason = "tensorflow_datasets is not installed, which this needs: "
    reason += "pip install 'homoode_tf[train]'"
    assert capsys.readouterr().err == f"digits: could not be prepared: {reason}\n"
    with pytest.raises(ImportError, match="which this needs: pip install"):
        data.load("digits", data_dir=tmp_path)
