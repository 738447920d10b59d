# SPDX-License-Identifier: Apache-2.0
"""Packages that only a part of this one needs, and what to install where one is missing."""

import contextlib
from collections.abc import Iterator

from homoode_tf.errors import UserError

# By the module that is imported; setup.cfg says which packages an extra is made of.
_EXTRAS = {"matplotlib": "plots", "imagecorruptions": "study"} | dict.fromkeys(
    ("PIL", "filelock", "fsspec", "ml_collections", "sklearn", "tensorflow_datasets", "tqdm"),
    "train",
)


class MissingExtraError(UserError, ImportError):
    """A package is not installed that this part needs; the message says how to install it."""


@contextlib.contextmanager
def explaining() -> Iterator[None]:
    """Within this context the lack of a package of an extra is a `MissingExtraError`."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in _EXTRAS:
            raise
        raise MissingExtraError(
            f"{name} is not installed, which this needs: pip install 'homoode_tf[{_EXTRAS[name]}]'"
        ) from error
