# SPDX-License-Identifier: Apache-2.0
"""What an error from inside a TensorFlow graph says, without where the graph was made.

Needs no TensorFlow, so that what must start fast can import it.
"""

import re

# Lines around the reason: empty ones, and where in the code the failing operation was made.
_AROUND_THE_REASON = re.compile(
    r"\s*$|Graph execution error|Detected at|\s*File \"|<stack traces|Stack trace|\s*\[\["
)

# Names that TensorFlow gives to what failed: `{{function_node NAME}}` and `[Op:NAME]`.
_NAMES = re.compile(r"\{\{function_node .*?\}\}|\[Op:[^\]]*\]")

_LONGEST_REASON = 500


def reason_lines(error: Exception) -> list[str]:
    """Returns the lines of an error's text that say what is wrong, with single spaces.

    Args:
        error: Any error; `tf.errors.OpError` is what it is for.

    Returns:
        At least one line; the error's type where its text says nothing.

    Example:
        >>> reason_lines(ValueError("no  space"))
        ['no space']
    """
    text = _NAMES.sub("", str(error))
    lines = [line for line in text.splitlines() if not _AROUND_THE_REASON.match(line)]
    return [" ".join(line.split()) for line in lines] or [type(error).__name__]


def reason(error: Exception) -> str:
    """Returns the same in one line of at most 500 characters."""
    return " ".join(reason_lines(error))[:_LONGEST_REASON]
