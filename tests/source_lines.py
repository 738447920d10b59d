# SPDX-License-Identifier: Apache-2.0
"""How long the files and functions of a folder are, and how many parameters functions take."""

import ast
import dataclasses
import pathlib
import tokenize


@dataclasses.dataclass(frozen=True)
class Function:
    """A function as its source stands."""

    name: str
    lines: int
    parameters: int


def files(folder):
    """Yields the Python files below `folder`, each with the lines of its text."""
    for path in sorted(pathlib.Path(folder).rglob("*.py")):
        yield path, path.read_text(encoding="utf-8").splitlines()


def functions(folder):
    """Yields every function below `folder`, named by its file: "layers/deq.py:DEQ.call"."""
    for path, text in files(folder):
        tree = ast.parse("\n".join(text))
        written = _lines_of_code(path)
        for name, node in _definitions(tree, ()):
            docstring = set()
            first = node.body[0]
            if ast.get_docstring(node) is not None:
                docstring = set(range(first.lineno, first.end_lineno + 1))
            own = {line for line in written if node.lineno <= line <= node.end_lineno}
            yield Function(
                f"{path.relative_to(folder).as_posix()}:{name}",
                len(own - docstring),
                _parameters(node.args),
            )


def is_constructor_of_a_public_class(name):
    """Whether this name of a function is that of `__init__` in a class without an underscore."""
    *owners, last = name.rpartition(":")[2].split(".")
    return last == "__init__" and not any(owner.startswith("_") for owner in owners)


def _definitions(node, scope):
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        inner = (*scope, child.name) if named else scope
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ".".join(inner), child
        yield from _definitions(child, inner)


def _parameters(arguments):
    """Counts the parameters that a caller may give; `self` and `cls` are not among them."""
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    names += [a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None]
    return len([name for name in names if name not in ("self", "cls")])


def _lines_of_code(path):
    """The numbers of the lines that hold code: neither blank nor only a comment."""
    layout = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    with tokenize.open(path) as file:
        tokens = [t for t in tokenize.generate_tokens(file.readline) if t.type not in layout]
    return {line for t in tokens for line in range(t.start[0], t.end[0] + 1)}
