# SPDX-License-Identifier: Apache-2.0
"""Lists, evaluates or exports the weights that ship with the package.

    python -m homoode_tf.weights                       what there is
    python -m homoode_tf.weights digits --evaluate     evaluates it anew, beside its card
    python -m homoode_tf.weights digits --export DIR   writes a SavedModel

Ends with status 0; 1 if an accuracy is not the card's or could not be found out, and 2 if nothing
could be done: a wrong flag, or no weights of that name.
"""

import argparse
import sys
from collections.abc import Sequence

from homoode_tf import data, empty_flags, models, program
from homoode_tf.errors import InvalidValueError
from homoode_tf.graph_errors import reason
from homoode_tf.models.weights import Card
from homoode_tf.report.weights.measure import accuracies, images_of, measure
from homoode_tf.serving import pretrained, terminal

_MODULE = "homoode_tf.weights"
# Other machines round otherwise: an image in a thousand may be on the other side of a border.
_TOLERANCE = 1e-3


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        program.name(_MODULE), description="Lists, evaluates or exports pretrained weights."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which (default: all)")
    what = parser.add_mutually_exclusive_group()
    evaluate = "evaluate them anew on validation, test and noisy test images"
    what.add_argument("--evaluate", action="store_true", help=evaluate)
    what.add_argument("--export", metavar="DIR", help="write a SavedModel to a new folder")
    where = "where the data sets are (default: TFDS's own folder)"
    parser.add_argument("--data_dir", metavar="DIR", help=where)
    options = empty_flags.parse(parser, arguments)
    return terminal.run(_MODULE, lambda: _command(options))


def _command(options: argparse.Namespace) -> int:
    names = options.names or models.pretrained_names()
    cards = {name: models.pretrained_card(name) for name in names}
    if options.export is not None:
        if len(names) != 1:
            raise InvalidValueError(f"--export takes one NAME, got {len(names)}")
        print(f"{names[0]} was exported to {pretrained.export(names[0], options.export)}.")
        return 0
    if options.evaluate:
        return 0 if all([_evaluate(*named, options.data_dir) for named in cards.items()]) else 1
    for name, card in cards.items():
        shape, measured = "x".join(map(str, card.image_shape)), card.measured
        print(
            f"{name}: {card.layer} of {card.parameters + card.initial_point_parameters:,} "
            f"parameters for {shape} images of {card.dataset}; test accuracy "
            f"{measured['test_accuracy']:.2%} ({measured['test_examples']:,} images); data: "
            f"{card.licence}"
        )
    return 0


def _evaluate(name: str, card: Card, data_dir: str | None) -> bool:
    """Evaluates weights and says what came out; returns whether it is what the card says."""
    try:
        images = images_of(card, data_dir)
    except data.DataNotFoundError as error:
        print(f"{name}: {reason(error)}", file=sys.stderr)
        return False
    found = accuracies(measure(models.pretrained(name), images))
    said = accuracies(card.measured)
    same = all(abs(found[what] - said[what]) <= _TOLERANCE for what in said)
    shown = ", ".join(f"{what} {value:.2%}" for what, value in found.items())
    card_says = ", ".join(f"{what} {value:.2%}" for what, value in said.items())
    print(f"{name}: {shown}; {'as' if same else 'NOT as'} its card says: {card_says}", flush=True)
    return same
