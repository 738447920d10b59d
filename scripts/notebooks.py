# SPDX-License-Identifier: Apache-2.0
"""Makes notebooks of the examples, without output: `python -m scripts.notebooks [FOLDER]`.

Each begins with the example's docstring, has a cell for every part of the script, and ends with the
call of its `main`, whose only flag is the picture, which it shows.
"""

import ast
import pathlib
import sys

import jupytext
from nbformat import NotebookNode, v4

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


def notebook(script: pathlib.Path) -> NotebookNode:
    """The notebook of an example."""
    text = script.read_text("utf-8")
    # In a notebook the arguments of the process are not the example's: its call is written anew.
    parts, _ = text.split('\nif __name__ == "__main__":')
    made = jupytext.reads(parts, fmt="py:light")
    docstring = ast.get_docstring(ast.parse(text))
    call = "main([])"
    if '"--picture"' in text:
        file = f"{script.stem}.png"
        call = (
            f"from IPython.display import Image\n\nmain(['--picture', '{file}'])\nImage('{file}')"
        )
    # The first cell is the licence and the docstring.
    made.cells[0] = v4.new_markdown_cell(f"# {docstring}")
    made.cells.append(v4.new_code_cell(call))
    return made


def write(folder: pathlib.Path) -> None:
    """Writes the notebooks of all examples into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for script in sorted(EXAMPLES.glob("[!_]*.py")):
        jupytext.write(notebook(script), folder / f"{script.stem}.ipynb")


if __name__ == "__main__":
    write(pathlib.Path(*sys.argv[1:2] or ["notebooks"]))
