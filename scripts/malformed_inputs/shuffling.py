# SPDX-License-Identifier: Apache-2.0
"""Drawing many cases from several sources, none twice before all were drawn once."""

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def forever(items: Iterable[Item], chance: random.Random) -> Iterator[Item]:
    """Yields the items in a random order, again and again."""
    items = list(items)
    while True:
        yield from chance.sample(items, len(items))


def in_turn(sources: Sequence[Iterator[Item]], count: int) -> list[Item]:
    """Takes `count` items, one from each source in turn."""
    return [next(source) for source in itertools.islice(itertools.cycle(sources), count)]
