# SPDX-License-Identifier: Apache-2.0
"""The base of all errors that a user can put right.

Their text says what was wrong, what was expected and what to do. A command shows it as one line;
whatever is not a `UserError` is a mistake of ours, and keeps its traceback.
"""


class UserError(Exception):
    """Something that the user gave, or that surrounds the program, has to change."""

    # Said again, although it is inherited: AutoGraph makes an error of a traced function anew, with
    # the place in the source, and keeps the type only where this is the constructor.
    __init__ = Exception.__init__


class InvalidValueError(UserError, ValueError):
    """An argument or a field has a value that is not allowed."""


class InvalidTypeError(InvalidValueError, TypeError):
    """An argument or a field is of a type that is not allowed, and so is its value."""
