# SPDX-License-Identifier: Apache-2.0
"""What is installed, as setup.py and setup.cfg say it."""

import importlib
import importlib.util
import pathlib
import re
import shutil

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def package():
    core = pytest.importorskip("setuptools").distutils.core
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return core.run_setup("setup.py", stop_after="config")


def test_the_recipes_are_where_the_package_looks_for_them(package):
    assert package.package_dir["homoode_tf.recipes.configs"] == "configs"
    folders = {path.parent for path in (ROOT / "homoode_tf").rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(package.packages) == {*names, "homoode_tf.recipes.configs"}


def test_the_weights_that_ship_are_installed(package):
    patterns = package.package_data["homoode_tf.models.weights"]
    folder = ROOT / "homoode_tf" / "models" / "weights"
    installed = {path.name for pattern in patterns for path in folder.glob(pattern)}
    assert installed == {path.name for path in folder.iterdir() if path.is_file()} - {"__init__.py"}


def test_every_command_is_there(package):
    lines = package.entry_points["console_scripts"]
    commands = dict(re.split(r"\s*=\s*", line) for line in lines)
    names = ("train", "compare", "plot", "predict", "convert", "weights")
    assert set(commands) == {f"homoode-{name}" for name in names}
    for place in commands.values():
        module, _, function = place.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_the_layers_need_no_extra(package):
    needed = "\n".join(package.install_requires)
    assert not re.search("datasets|scikit|pillow|matplotlib", needed)
    assert {"train", "plots", "test"} <= set(package.extras_require)
    assert any("train" in line for line in package.extras_require["test"])


def links(text):
    return re.findall(r"\]\(([^)]+)\)", text)


@pytest.mark.parametrize("url", ["", "https://example.org/repository"])
def test_what_an_index_shows_links_to_nothing_that_it_lacks(tmp_path, monkeypatch, url):
    core = pytest.importorskip("setuptools").distutils.core
    for name in ("setup.py", "setup.cfg", "README.md", "LICENSE", "homoode_tf/version.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    config = (tmp_path / "setup.cfg").read_text("utf-8")
    assert "\nurl" not in config, "the page as it stands links to it"
    (tmp_path / "setup.cfg").write_text(config.replace("[options]", f"url = {url}\n[options]", 1))
    monkeypatch.chdir(tmp_path)
    text = core.run_setup("setup.py", stop_after="config").metadata.long_description
    assert all(link.startswith("https://") for link in links(text))
    readme = (ROOT / "README.md").read_text("utf-8")
    assert len(links(text)) == (len(links(readme)) if url else readme.count("](https://"))
    if url:
        assert (
            f"![One small equation solved by a DEQ, a Neural ODE and a HomoODE]({url}/raw/" in text
        )
