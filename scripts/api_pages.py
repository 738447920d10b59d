# SPDX-License-Identifier: Apache-2.0
"""For the pages of the API: docstrings as griffe and Markdown want them."""

import re
from typing import Any

import griffe


class AsMarkdown(griffe.Extension):
    """Names the examples as griffe does, and leaves reStructuredText's marks out."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called with each object that was read."""
        if obj.docstring is not None:
            text = re.sub(r"(?m)^Example:$", "Examples:", obj.docstring.value)
            # The mark of a literal block, which is indented in Markdown, too.
            obj.docstring.value = re.sub(r"(?m)^ *::$", "", text)
