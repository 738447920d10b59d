# SPDX-License-Identifier: Apache-2.0
"""Whether the workers that train together train the same."""

import json
from collections.abc import Mapping, Sequence

import tensorflow as tf

from homoode_tf.errors import InvalidValueError
from homoode_tf.training.devices.strategy import gather_over_workers, has_several_workers

_ABSENT = "absent"


def check(strategy: tf.distribute.Strategy, facts: Mapping[str, str]) -> None:
    """Refuses, on each worker, to go on where the workers differ in a fact.

    Of several workers each must call it, for it waits for the others.

    Args:
        strategy: The run's.
        facts: This worker's, under names for the message.

    Raises:
        InvalidValueError: If they differ; the message names each difference.
    """
    if not has_several_workers(strategy):
        return
    text = json.dumps(dict(facts)).encode()
    length = max(gather_over_workers(strategy, [len(text)]))
    codes = gather_over_workers(strategy, list(text.ljust(length)))
    texts = [codes[start : start + length] for start in range(0, len(codes), length)]
    found = differences([json.loads(bytes(text)) for text in texts])
    if found:
        raise InvalidValueError(
            f"the workers of this run do not agree: {'; '.join(found)}. Start all of them with the "
            "same command and code, in a workdir that they share."
        )


def differences(workers: Sequence[Mapping[str, str]]) -> list[str]:
    """Says each fact in which some worker differs from the first.

    Example:
        >>> differences([{"seed": "1", "step": "3"}, {"seed": "2", "step": "3"}])
        ['seed is 1 on worker 0 and 2 on worker 1']
    """
    found = []
    for name in sorted(set().union(*workers)):
        values = [facts.get(name, _ABSENT) for facts in workers]
        other = next((k for k, value in enumerate(values) if value != values[0]), None)
        if other is not None:
            found.append(f"{name} is {values[0]} on worker 0 and {values[other]} on worker {other}")
    return found
