# SPDX-License-Identifier: Apache-2.0
"""`python -m homoode_tf` says what can be run; with `--version`, which version this is."""

import argparse

from homoode_tf import __version__, commands

if __name__ == "__main__":
    names = ("train", "compare", "plot", "predict", "convert", "weights")
    lines = [f"  homoode-{name:9}{getattr(commands, name).__doc__}" for name in names]
    parser = argparse.ArgumentParser(
        "python -m homoode_tf",
        description="\n".join(["The commands, each with --help of its own:", "", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"homoode_tf {__version__}")
    parser.parse_args()
    parser.print_help()
