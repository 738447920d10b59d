# SPDX-License-Identifier: Apache-2.0
"""Flags in, one clear line out: how a script of this project starts and ends."""

import collections
import difflib
import pathlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import tensorflow as tf
from absl import app, flags, logging
from ml_collections import config_flags

from homoode_tf import disk, help_page, recipes
from homoode_tf.errors import InvalidValueError, UserError
from homoode_tf.graph_errors import reason
from homoode_tf.training.interruption import Interrupted

_FAILURE, _USAGE = 1, 2
# What a user can put right, and what the machine refuses: TensorFlow has errors of its own where
# Python has an OSError. Anything else is a mistake of ours, and keeps its traceback.
_EXPECTED = (
    UserError,
    OSError,
    tf.errors.AbortedError,
    tf.errors.DataLossError,
    tf.errors.DeadlineExceededError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
    tf.errors.ResourceExhaustedError,
    tf.errors.UnavailableError,
)
_TRACEBACK = "Traceback (most recent call last)"
_CONFIG = re.compile(r"--?config(=|$)")
_OVERRIDE = re.compile(r"--?config\.([^=]*)")
_HELP = re.compile(r"--?(help|helpshort|helpfull|helpxml|\?)$")


def define_config(own: flags.FlagValues, meaning: str) -> flags.FlagHolder:
    """Defines the flag `--config`, the path of a config file.

    Args:
        own: The flags of the command.
        meaning: The flag's help.

    Returns:
        The flag; its value is the locked config.
    """
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        # ml_collections reads the command line already when the flag is defined, and what is wrong
        # with it would be a traceback.
        return config_flags.DEFINE_config_file("config", None, meaning, own, lock_config=True)
    finally:
        sys.argv = arguments


def read_config(recipe: str) -> Any:
    """Executes a config file as `--config=RECIPE` does, and returns the locked config."""
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "", values, lock_config=True)
    values([sys.argv[0], f"--config={recipes.find(recipe)}"])
    return values["config"].value


def run(
    main: Callable[[], None],
    own: flags.FlagValues,
    default_config: str,
    description: str = "",
    fields: Iterable[tuple[str, str]] = (),
    more: str = "",
) -> None:
    """Parses the flags, calls `main`, and exits.

    What a user can put right (a flag, a config field, a folder, missing data) ends as one line on
    the standard error: with status 2 where the command line is wrong, 1 where something else is,
    and 128 + the signal's number after an interruption. `--verbosity=1` shows the traceback. A
    mistake of ours ends as a traceback, with status 1.

    Args:
        main: The script, without arguments.
        own: Its flags, which no other command in the same process has.
        default_config: The recipe where `--config` is not given.
        description: What `--help` says of it.
        fields: (name and default, meaning) of the fields of its recipe, for `--help`.
        more: Which flag of its own takes several arguments, as in `--runs A B`.
    """
    if any(map(_HELP.match, sys.argv[1:])):
        print(help_page.text(description, own, fields), end="")
        sys.exit(0)
    app.run(
        lambda _: _call(main), flags_parser=lambda argv: _parse(argv, own, default_config, more)
    )


def _call(main: Callable[[], None]) -> None:
    try:
        main()
    except Interrupted as error:
        _leave(error, error.exit_status)
    except KeyboardInterrupt:
        _leave("stopped by SIGINT", 130)
    except Exception as error:
        # Of a full disk, libraries that write tell with errors of their own.
        if logging.level_debug() or not (isinstance(error, _EXPECTED) or disk.is_full(error)):
            raise
        text = reason(error) if isinstance(error, tf.errors.OpError) else str(error)
        _leave(disk.remedy(error, text or repr(error)), _FAILURE)


def _parse(
    arguments: Sequence[str], own: flags.FlagValues, default_config: str, more: str
) -> list[str]:
    try:
        arguments = _with_path(arguments, default_config)
    except InvalidValueError as error:
        _leave(error, _USAGE)
    # Where ml_collections looks for the overrides of a config's fields.
    sys.argv = arguments
    # Those of absl itself, as --verbosity.
    own.append_flag_values(flags.FLAGS)
    flags.FLAGS.mark_as_parsed()
    try:
        rest = own(arguments)
        config = own["config"].value
        # A config that could not be read is only noticed when it is used.
        if not hasattr(config, "keys"):
            raise TypeError(f"get_config() must return a ConfigDict, it returned {config!r}")
    except (Exception, SystemExit) as error:  # A config file is a program: it may raise anything.
        if logging.level_debug():
            raise
        reason: object = error
        if isinstance(error, flags.UnrecognizedFlagError):
            known = [*own, *_names_of(own["config"].value)]
            reason = f"there is no flag --{error.flagname}.{_closest(error.flagname, known)}"
        elif not isinstance(error, flags.Error) or _TRACEBACK in str(error):
            reason = _unknown_field(arguments, own)
            reason = reason or f"the config cannot be read: {_last_line(error)}"
        _leave(reason, _USAGE)
    if not own["verbosity"].present:
        # The notices of libraries would tear the progress bar; warnings are still shown.
        logging.set_verbosity(logging.WARNING)
    if more and own[more].present:
        own[more].value += rest[1:]
    elif len(rest) > 1:
        _leave(f"unexpected arguments: {' '.join(rest[1:])}", _USAGE)
    return rest


def _with_path(arguments: Sequence[str], default_config: str) -> list[str]:
    """Returns the arguments with the path of the recipe that `--config` names."""
    arguments = list(arguments)
    at = [number for number, argument in enumerate(arguments) if _CONFIG.match(argument)]
    if not at:
        arguments.insert(1, f"--config={recipes.find(default_config)}")
    for number in at:
        flag, equals, recipe = arguments[number].partition("=")
        if equals:
            arguments[number] = f"{flag}={recipes.find(recipe)}"
        elif number + 1 < len(arguments):
            arguments[number + 1] = recipes.find(arguments[number + 1])
    return arguments


def _unknown_field(arguments: Sequence[str], own: flags.FlagValues) -> str | None:
    """Says which `--config.FIELD` there is not, and which there are.

    ml_collections only says that there is none. So read the config without any override, and
    look the fields up.
    """
    overrides = [match[1] for match in map(_OVERRIDE.match, arguments) if match]
    sys.argv = [argument for argument in arguments if not _OVERRIDE.match(argument)]
    own.unparse_flags()
    try:
        own(sys.argv, known_only=True)
        config = own["config"].value
    except (Exception, SystemExit):  # The config itself cannot be read: report that error.
        return None
    return next(filter(None, (find_unknown(config, path) for path in overrides)), None)


def _last_line(error: BaseException) -> str:
    """What an error of a config file says, without the traceback that ml_collections adds."""
    if isinstance(error, SystemExit):
        return f"its program ends with sys.exit({error.code!r})"
    text = str(error) or type(error).__name__
    return text.strip().splitlines()[-1] if _TRACEBACK in text else text


def find_unknown(config: Mapping[str, Any], path: str) -> str | None:
    """Returns what is wrong with the dotted `path` of a config field, or None.

    Args:
        config: A nested config.
        path: As in `--config.PATH`.

    Returns:
        A sentence that names the fields there are.

    Example:
        >>> print(find_unknown({"model": {"channels": 64}}, "channels"))
        config has no field 'channels'; the known ones are model. Did you mean \
--config.model.channels?
    """
    group, prefix = config, "config"
    for name in path.split("."):
        if not hasattr(group, "keys"):
            return f"{prefix} is a value, it has no field {name!r}."
        if name not in group:
            known = ", ".join(sorted(group.keys()))
            hint = _closest(path, _names_of(config))
            return f"{prefix} has no field {name!r}; the known ones are {known}.{hint}"
        group, prefix = group[name], f"{prefix}.{name}"
    return None


def _names_of(group: Any, prefix: str = "config") -> Iterator[str]:
    """Yields the dotted names of all fields of a config; none where it is no config."""
    for name, value in group.items() if hasattr(group, "keys") else ():
        if hasattr(value, "keys"):
            yield from _names_of(value, f"{prefix}.{name}")
        else:
            yield f"{prefix}.{name}"


def _closest(name: str, known: Iterable[str]) -> str:
    """Asks whether those known names were meant that end as this one does, or nearly so."""
    by_end = collections.defaultdict(list)
    for each in known:
        by_end[each.rpartition(".")[2]].append(f"--{each}")
    ends = difflib.get_close_matches(name.rpartition(".")[2], by_end, n=1, cutoff=0.75)
    return f" Did you mean {' or '.join(by_end[ends[0]])}?" if ends else ""


def _leave(reason: object, status: int) -> NoReturn:
    """Ends the process with one line on the standard error."""
    text = " ".join(str(reason).split()) or type(reason).__name__
    print(f"{pathlib.Path(sys.argv[0]).name}: {text}", file=sys.stderr, flush=True)
    sys.exit(status)
