# SPDX-License-Identifier: Apache-2.0
"""Writes the reference of all fields of a recipe, from their declarations:

python -m scripts.recipe_reference > docs/recipe_reference.md
"""

from homoode_tf.training.settings import TrainingSettings

_PAGE = """\
# The fields of a recipe

A recipe is a file of `configs/` whose `get_config()` returns the fields below; those that it does
not set have their defaults, which `configs/base.py` collects. `--config.FIELD=VALUE` changes one on
the command line, and what is not allowed is refused before anything is written. This page is
written by `python -m scripts.recipe_reference > docs/recipe_reference.md`.

{table}

## Parts of your own

`model.layer`, `model.dynamics`, `model.solver` and `model.initial_point` take, beside the built-in
names,

- the name `"package>Name"` of a class that was decorated with
  `@keras.saving.register_keras_serializable("package")`; it is called with those fields of the
  recipe that its constructor takes (a layer with the dynamics first; dynamics with `channels` or
  `filters`, `groups`, `dropout_rate`, `kernel_initializer`);
- what `keras.saving.serialize_keras_object` returns for an object;
- in code, the object itself, which has its own settings.

A layer is a `homoode_tf.layers.ImplicitLayer`, a solver a `tfp.math.ode.Solver` or, of a DEQ, a
`homoode_tf.solvers.fixed_point.FixedPointSolver`, dynamics and an initial point any Keras layer.
`dataset` takes any name that `homoode_tf.data.register` made known. The recipe's file, or what it
imports, is the place to register, and what reads the run later has to import it too.
"""


def page() -> str:
    """Returns the page."""
    rows = [("Field", "Default", "Allowed", "Meaning"), ("---",) * 4]
    for name, default, allowed, meaning in TrainingSettings.declared():
        rows.append((f"`{name}`", f"`{default}`" if default else "none", allowed, meaning))
    return _PAGE.format(table="\n".join(f"| {' | '.join(row)} |" for row in rows))


if __name__ == "__main__":
    print(page(), end="")
