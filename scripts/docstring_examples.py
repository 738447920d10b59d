# SPDX-License-Identifier: Apache-2.0
"""For the pages of the API: an `Example:` of a docstring is what others call `Examples:`."""

import re
from typing import Any

import griffe


class ExampleIsExamples(griffe.Extension):
    """Lets griffe see the code in it."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called with each object that was read."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"(?m)^Example:$", "Examples:", obj.docstring.value)
