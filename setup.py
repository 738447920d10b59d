# SPDX-License-Identifier: Apache-2.0
"""The packages to install; all else is in setup.cfg, which cannot place a folder elsewhere."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["homoode_tf", "homoode_tf.*"]), "homoode_tf.recipes.configs"],
    package_dir={"homoode_tf.recipes.configs": "configs"},
)
