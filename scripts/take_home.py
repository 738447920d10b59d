# SPDX-License-Identifier: Apache-2.0
"""Makes the weights of a finished run ship with the package.

    python -m scripts.take_home runs/digits digits

writes `homoode_tf/models/weights/NAME.keras` and NAME.json, the card, which it measures: on
validation, once on the test split, and under noise. Then it writes the page of all cards anew.
"""

import argparse
import dataclasses
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence

from homoode_tf import disk
from homoode_tf.errors import InvalidValueError, UserError
from homoode_tf.graph_errors import reason
from homoode_tf.models import ImageClassifier, weights
from homoode_tf.models.saved import load
from homoode_tf.report.weights.measure import images_of, measure
from homoode_tf.training.files.workdir import Workdir, WorkdirError, not_at_defaults
from scripts import weights_page

# As their authors give them, or those who hand them out.
LICENCES = {
    "digits": "CC BY 4.0: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, "
    "UCI Machine Learning Repository, doi 10.24432/C50P49",
    "mnist": "CC BY-SA 3.0: Y. LeCun and C. Cortes, MNIST, made of NIST's collections",
    "cifar10": "its authors state no licence and ask to cite: A. Krizhevsky, Learning Multiple "
    "Layers of Features from Tiny Images, 2009",
}


def card_of(workdir: Workdir, model: ImageClassifier, commit: str, licence: str) -> weights.Card:
    """Returns the card of a run's model, not yet measured.

    Raises:
        WorkdirError: If the run is not complete.
    """
    config, result, info = workdir.read_config(), workdir.read_result(), workdir.read_data()
    if result is None or info is None:
        raise WorkdirError(f"{workdir.directory} holds no complete run: train it to its end.")
    recipe = {name: json.loads(text) for name, text in not_at_defaults(config).items()}
    return weights.Card(
        dataset=recipe.pop("dataset"),
        licence=licence,
        image_shape=info.image_shape,
        class_names=model.class_names,
        mean=model.mean,
        std=model.std,
        layer=result["model"],
        parameters=result["parameters"],
        initial_point_parameters=result["initial_point_parameters"],
        recipe=recipe,
        seed=config["seed"],
        steps=result["steps"],
        precision=result["precision"],
        commit=commit,
        measured={},
        sha256="",
    )


def take_home(
    workdir: Workdir,
    name: str,
    commit: str,
    licence: str,
    data_dir: str | None,
    class_names: Sequence[str] = (),
) -> weights.Card:
    """Puts a run's weights under a name among those that ship, and returns their card."""
    model = load(workdir.directory)
    if class_names and len(class_names) != len(model.class_names):
        raise InvalidValueError(
            f"--class_names must be {len(model.class_names)}, got {len(class_names)}"
        )
    model.class_names = tuple(class_names) or model.class_names
    card = card_of(workdir, model, commit, licence)
    card.measured.update(measure(model, images_of(card, data_dir)))
    path = weights.FOLDER / f"{name}.keras"
    new = path.with_name("new.keras")
    model.save(new)
    card = dataclasses.replace(card, sha256=hashlib.sha256(new.read_bytes()).hexdigest())
    disk.replace_file(new, path)
    fields = [f"{json.dumps(k)}: {json.dumps(v, allow_nan=False)}" for k, v in vars(card).items()]
    text = ",\n ".join(fields)
    disk.write_atomically(path.with_suffix(".json"), f"{{{text}}}\n")
    return card


def _commit(given: str) -> str:
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{given}^{{commit}}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InvalidValueError(f"--commit: this checkout knows no commit {given!r}") from error
    return done.stdout.strip()


def main(arguments: list[str] | None = None) -> int:
    """Runs the script; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.take_home")
    parser.add_argument("workdir", help="folder of a complete run")
    parser.add_argument("name", help="of the weights")
    parser.add_argument("--data_dir", help="where the data sets are")
    parser.add_argument("--commit", default="HEAD", help="of the code that trained it")
    parser.add_argument("--licence", help="of the data, where it is not known here")
    help_text = "of the labels 0, 1, ..., where the data set's copy only numbers them"
    parser.add_argument("--class_names", nargs="+", default=(), metavar="NAME", help=help_text)
    options = parser.parse_args(arguments)
    try:
        workdir = Workdir(options.workdir)
        dataset = workdir.read_config()["dataset"]
        licence = options.licence or LICENCES.get(dataset)
        if not licence:
            raise InvalidValueError(f"the licence of {dataset} is not known here: give --licence")
        commit = _commit(options.commit)
        names = options.class_names
        card = take_home(workdir, options.name, commit, licence, options.data_dir, names)
    except (OSError, UserError) as error:
        print(f"take_home: {reason(error)}", file=sys.stderr)
        return 2
    disk.write_atomically(weights_page.PATH, weights_page.page())
    print(f"{options.name}: test accuracy {card.measured['test_accuracy']:.2%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
