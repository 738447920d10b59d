# SPDX-License-Identifier: Apache-2.0
"""Downloads and prepares data sets: `python -m homoode_tf.data NAME [NAME ...] [--data_dir DIR]`.

Each data set is downloaded from its authors through TFDS, written to the folder of TFDS data sets,
and its sizes are printed. What is there already is left as it is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from homoode_tf import disk, empty_flags
from homoode_tf.data import catalog, storage
from homoode_tf.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0 if every data set is there at the end, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m homoode_tf.data",
        description="Downloads and prepares data sets.",
        epilog=f"Data sets: {', '.join(catalog.names())}, and tfds:NAME for any of TFDS.",
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help="a data set, see below")
    parser.add_argument(
        "--data_dir", metavar="DIR", help="where they are kept (default: ~/tensorflow_datasets)"
    )
    options = empty_flags.parse(parser, arguments)
    for name in options.names:
        try:
            storage.check_name(name)
        except UserError as error:
            parser.error(str(error))
    results = [_prepare(name, options.data_dir) for name in options.names]
    return 0 if all(results) else 1


def _prepare(name: str, data_dir: str | None) -> bool:
    try:
        builder = storage.prepare(name, data_dir)
    # A download can fail in any way: the other data sets are still tried.
    except Exception as error:
        reason = disk.remedy(error, str(error) or type(error).__name__)
        print(f"{name}: could not be prepared: {reason}", file=sys.stderr)
        if isinstance(error, ConnectionError):
            print("Run the same command again with a network.", file=sys.stderr)
        return False
    sizes = ", ".join(f"{split} {info.num_examples}" for split, info in builder.info.splits.items())
    image, _ = storage.supervised_keys(builder.info)
    shape = "x".join(str(size or "?") for size in builder.info.features[image].shape)
    print(f"{builder.info.full_name}: images of {shape}, {sizes}, in {builder.data_dir}")
    return True


if __name__ == "__main__":
    sys.exit(main())
