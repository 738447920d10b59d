# SPDX-License-Identifier: Apache-2.0
"""README is short, links lead somewhere, no recipe is forgotten; test_pages.py runs the code."""

import pathlib
import re

README = pathlib.Path(__file__).parent.parent / "README.md"


def test_the_page_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 120


def test_links_lead_somewhere():
    for page in [README, *README.parent.glob("docs/*.md")]:
        prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#:]+)\)", prose):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_recipe_is_named():
    text = (README.parent / "docs" / "training.md").read_text(encoding="utf-8")
    configs = (README.parent / "configs").glob("*.py")
    recipes = {path.stem for path in configs if "def get_config()" in path.read_text("utf-8")}
    assert {"digits", "compare_digits"} <= recipes
    recipes = {name for name in recipes if not name.startswith("compare_")}
    assert recipes == {recipe for recipe in recipes if f"`{recipe}`" in text}
