"""Repeated blocks in sequences, by greedy replacement of pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias

__all__ = ["Block", "repeated_blocks"]

# consecutive symbols
Block: TypeAlias = "tuple[Any, ...]"


def repeated_blocks(
    sequences: Sequence[Sequence[Hashable]],
    *,
    min_repeats: int = 2,
    longest: int | None = None,
    joins: Callable[[Any, Any], bool] | None = None,
) -> list[list[Block]]:
    """Cut sequences into blocks of consecutive symbols that come again and again.

    The most frequent pair of neighbours is made one block, everywhere, until none is frequent
    enough (Re-Pair, of the family of Sequitur, which Wootz uses). A block that is left over too
    seldom, because longer ones have taken its places, is cut into its two halves again.

    Parameters
    ----------
    sequences : sequence of sequences of hashable
        For example strings, or layers with their rates.
    min_repeats : int, default 2
        A block of several symbols occurs so often at least, without overlap.
    longest : int, optional
        Symbols of a block at most.
    joins : callable, optional
        ``joins(a, b)``: whether the symbols may be neighbours in one block. Default: all may.

    Returns
    -------
    list of list of tuple
        For every sequence its blocks in order; joined they are the sequence.

    Raises
    ------
    ValueError
        If `min_repeats` is below 2 or `longest` below 1.

    Examples
    --------
    >>> for blocks in repeated_blocks(["abcx", "abcy", "zabc"]):
    ...     print(["".join(block) for block in blocks])
    ['abc', 'x']
    ['abc', 'y']
    ['z', 'abc']
    """
    if min_repeats < 2 or (longest is not None and longest < 1):
        raise ValueError(
            f"min_repeats={min_repeats} must be at least 2, and longest={longest} at least 1"
        )
    cut: list[list[Block]] = [[(symbol,) for symbol in sequence] for sequence in sequences]
    halves: dict[Block, tuple[Block, Block]] = {}

    def allowed(left: Block, right: Block) -> bool:
        fits = longest is None or len(left) + len(right) <= longest
        return fits and (joins is None or joins(left[-1], right[0]))

    while True:
        counts = _pairs(cut, allowed)
        # of equal counts the first seen: the result does not depend on hashes
        pair = max(counts, key=counts.__getitem__, default=None)
        if pair is None or counts[pair] < min_repeats:
            break
        halves.setdefault(pair[0] + pair[1], pair)
        cut = [_replaced(blocks, pair) for blocks in cut]
    return _without_rare(cut, halves, min_repeats)


def _pairs(
    cut: Sequence[Sequence[Block]], allowed: Callable[[Block, Block], bool]
) -> Counter[tuple[Block, Block]]:
    """How often each two blocks are neighbours, without overlap as in ``aaa``."""
    counts: Counter[tuple[Block, Block]] = Counter()
    for blocks in cut:
        ends: dict[tuple[Block, Block], int] = {}
        for i in range(len(blocks) - 1):
            pair = (blocks[i], blocks[i + 1])
            if ends.get(pair, -1) < i and allowed(*pair):
                counts[pair] += 1
                ends[pair] = i + 1
    return counts


def _replaced(blocks: Sequence[Block], pair: tuple[Block, Block]) -> list[Block]:
    done: list[Block] = []
    i = 0
    while i < len(blocks):
        if i + 1 < len(blocks) and (blocks[i], blocks[i + 1]) == pair:
            done.append(pair[0] + pair[1])
            i += 2
        else:
            done.append(blocks[i])
            i += 1
    return done


def _without_rare(
    cut: list[list[Block]], halves: dict[Block, tuple[Block, Block]], min_repeats: int
) -> list[list[Block]]:
    while True:
        counts = Counter(block for blocks in cut for block in blocks)
        rare = {block for block in halves if 0 < counts[block] < min_repeats}
        if not rare:
            return cut
        cut = [
            [part for block in blocks for part in (halves[block] if block in rare else (block,))]
            for blocks in cut
        ]
