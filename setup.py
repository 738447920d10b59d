# SPDX-License-Identifier: Apache-2.0
"""The packages to install, and README as it is read elsewhere; all else is in setup.cfg."""

import configparser
import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent


def page() -> str:
    """Returns README with links that lead somewhere outside of the repository, too.

    That is to setup.cfg's `url`; without one, pictures and links into the repository are left out.
    """
    config = configparser.ConfigParser(interpolation=None)
    config.read(HERE / "setup.cfg", encoding="utf-8")
    url = config["metadata"].get("url", "")

    def link(found: re.Match) -> str:
        is_picture, text, target = found.groups()
        if not url:
            return "" if is_picture else text
        return f"{is_picture}[{text}]({url}/{'raw' if is_picture else 'blob'}/HEAD/{target})"

    readme = (HERE / "README.md").read_text(encoding="utf-8")
    return re.sub(r"(!?)\[([^]]+)\]\((?!https?:|#)([^)]+)\)", link, readme)


setup(
    long_description=page(),
    packages=[*find_packages(include=["homoode_tf", "homoode_tf.*"]), "homoode_tf.recipes.configs"],
    package_dir={"homoode_tf.recipes.configs": "configs"},
)
