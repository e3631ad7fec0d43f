"""Designs: which combinations of levels become arms.

A design is a function from the number of levels of each factor to rows of level indices. Index 0 is the level of the
baseline, so a row of zeros is the baseline.
"""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from search_spaces.errors import StudyError

Row = tuple[int, ...]
MAX_FRACTION_FACTORS = 15
T = TypeVar("T")
S = TypeVar("S")


def one_factor_at_a_time(levels: Sequence[int]) -> list[Row]:
    """Return the baseline, then each other level of each factor alone: 1 + sum(levels - 1) rows."""
    zero = (0,) * len(levels)
    rows = [zero]
    for factor, count in enumerate(levels):
        rows += [(*zero[:factor], level, *zero[factor + 1 :]) for level in range(1, count)]
    return rows


def leave_one_out(levels: Sequence[int]) -> list[Row]:
    """Return all factors on, then all but one, then the baseline: n + 2 rows for n > 1 factors.

    "On" is the level that differs from the baseline, so each factor has two levels. The first row is the reference.
    """
    _needs_two_levels(levels, "leave_one_out")
    full = (1,) * len(levels)
    without = [(*full[:factor], 0, *full[factor + 1 :]) for factor in range(len(levels))]
    return list(dict.fromkeys([full, *without, (0,) * len(levels)]))


def full_factorial(levels: Sequence[int]) -> list[Row]:
    """Return every combination, the baseline first, the last factor changing fastest."""
    return list(itertools.product(*(range(count) for count in levels)))


def fractional_factorial(levels: Sequence[int], generator: str | int) -> list[Row]:
    """Return a two-level fraction (Box & Hunter 1961) that contains the baseline.

    ``generator`` is a pydoe generator such as ``"a b c abc"``, one word for each factor, or a resolution (3, 4 or 5).
    Signs are chosen such that the fraction contains the row of zeros.
    """
    signs = _fraction(levels, generator)
    return [tuple(int(x) for x in row) for row in (signs != signs[0]).astype(int)]


def aliases(levels: Sequence[int], generator: str | int, names: Sequence[str]) -> list[str]:
    """Return the confounded (aliased) effects of a fraction, up to sign: ``"norm = depth:placement"``.

    Only chains that begin with a main effect or a two-factor interaction are listed: the others are negligible.
    """
    from pydoe import fracfact_aliasing  # imported here: it loads scipy.stats, which only a fraction needs

    letters = dict(zip(string.ascii_lowercase, names, strict=False))
    chains, _ = fracfact_aliasing(_fraction(levels, generator))
    effects = [chain.split(" = ") for chain in chains]
    return [
        " = ".join(":".join(letters[letter] for letter in effect) for effect in chain)
        for chain in effects
        if len(chain) > 1 and len(chain[0]) <= 2
    ]


def with_seeds(arms: Iterable[T], seeds: Sequence[S]) -> list[tuple[T, S]]:
    """Return each arm with each seed, seed by seed, so that an interrupted study has complete pairs."""
    arms = list(arms)
    return [(arm, seed) for seed in seeds for arm in arms]


def _fraction(levels: Sequence[int], generator: str | int) -> np.ndarray:
    """Return the matrix of signs, shape (runs, factors)."""
    from pydoe import fracfact, fracfact_by_res

    _needs_two_levels(levels, "fractional_factorial")
    count = len(levels)
    if not 2 <= count <= MAX_FRACTION_FACTORS:
        raise StudyError(
            f"`design` is fractional_factorial, which takes 2 to {MAX_FRACTION_FACTORS} factors, not {count}"
        )
    if isinstance(generator, int):
        return np.asarray(fracfact_by_res(count, generator))
    example = "such as 'a b ab' for three factors"
    words = _generator_words(generator, count, example)
    try:
        signs = np.asarray(fracfact(words))
    except ValueError as error:
        raise StudyError(
            f"`design.generator` is {generator!r}, which is not usable: {str(error).rstrip('.')} ({example})"
        ) from None
    if not np.array_equal(abs(signs.T @ signs), len(signs) * np.eye(count)) or (abs(signs.sum(axis=0)) > 0).any():
        raise StudyError(f"`design.generator` is {generator!r}, which confounds two of its factors ({example})")
    return signs


def _generator_words(generator: str, count: int, example: str) -> str:
    words = generator.lower().split()
    if not all(re.fullmatch(r"[-+]?[a-z]+", word) for word in words):
        raise StudyError(f"`design.generator` is {generator!r}, but must be words of letters, {example}")
    if len(words) != count:
        raise StudyError(
            f"`design.generator` is {generator!r} with {len(words)} words, but must have one for each of the "
            f"{count} factors, {example}"
        )
    return " ".join(words)


def _needs_two_levels(levels: Sequence[int], design: str) -> None:
    if any(count != 2 for count in levels):
        raise StudyError(
            f"`design` is {design}, which needs factors of two levels (the baseline's and one other), but the factors "
            f"have {', '.join(map(str, levels))}; use one_factor_at_a_time or full_factorial, or drop levels"
        )
