"""The error of a study to which seeds were added after its results could be seen (optional stopping).

Whoever tests at n_1 seeds, adds seeds where nothing is significant, and tests again, calls a difference that is not
there in more than 5 % of studies (Armitage, McPherson and Rowe 1969): 8.5 % with 3 and then 5 seeds, 14 % with 3, 5, 8
and 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import special

from analysis.stats.paired import ALPHA
from analysis.stats.spending import t_levels
from analysis.store.load import StudyResults
from search_spaces.rounds import Round

_STUDIES, _MOST_DRAWS = 100_000, 8_000_000


@lru_cache(maxsize=64)
def error_of_looks(looks: tuple[tuple[int, float], ...], seed: int = 0) -> float:
    """Return how often a paired t test is significant at any of these looks without a true difference.

    ``looks``: (number of pairs, level of the two-sided test). By seeded simulation of normal differences; the standard
    error of the result is below 0.001 with up to 80 pairs.
    """
    most = max(n for n, _ in looks)
    rng = np.random.default_rng(seed)
    draws = rng.normal(size=(max(2_000, min(_STUDIES, _MOST_DRAWS // most)), most))
    significant = np.zeros(len(draws), bool)
    for n, level in looks:
        if n >= 2 and level > 0:
            part = draws[:, :n]
            t = part.mean(axis=1) / (part.std(axis=1, ddof=1) / np.sqrt(n))
            significant |= np.abs(t) >= -special.stdtrit(n - 1, level / 2)
    return float(significant.mean())


def looks_of_rounds(rounds: Sequence[Round], seeds: Sequence[int]) -> tuple[tuple[int, float], ...]:
    """Return the looks, with their levels, that the rounds of a study with these seeds made possible.

    A round of all seeds at once is one look at 5 %; one by a rule has the looks of the rule.
    """
    found: list[tuple[int, float]] = []
    known: set[int] = set()
    for one in rounds:
        known |= set(one.seeds) & set(seeds)
        if one.looks is not None and one.spending is not None:
            levels = t_levels(one.looks, ALPHA, one.spending)
            found += [(look, level) for look, level in zip(one.looks, levels, strict=True) if look <= len(known)]
        elif known:
            found.append((len(known), ALPHA))
    return tuple(dict.fromkeys(found))


def added_seeds_words(results: StudyResults) -> str:
    """Return in words what was changed outside a rule after results could be seen, and the error that this can give.

    Seeds that were added or left out, another rule, or another number of tuning trials; empty where none was.
    """
    if results.spec is None or not results.rounds:
        return ""
    found = [_added(results, results.spec.seeds), _left_out(results, results.spec.seeds), _retuned(results)]
    return "; ".join(filter(None, found))


def _left_out(results: StudyResults, seeds: Sequence[int]) -> str:
    stored = set(results.other["seed"]) if "seed" in results.other else set()
    count = len(({seed for one in results.rounds for seed in one.seeds} - set(seeds)) & stored)
    each = f"{results.replicate}{'s' if count > 1 else ''}"
    return (
        f"{count} {each} with stored results {'are' if count > 1 else 'is'} left out: choosing {results.replicate}s by "
        "their results makes the error larger than 5 %"
        if count
        else ""
    )


def _retuned(results: StudyResults) -> str:
    trials = list(dict.fromkeys(one.trials for one in results.rounds if one.trials is not None))
    steps = ", then ".join(map(str, trials))
    what = f"the number of tuning trials was changed after results could be seen ({steps})"
    return f"{what}: the error can be larger than 5 %" if len(trials) > 1 else ""


def _added(results: StudyResults, seeds: Sequence[int]) -> str:
    if len(results.rounds) < 2:
        return ""
    counts = [
        len(set(seeds) & {seed for one in results.rounds[: k + 1] for seed in one.seeds})
        for k in range(len(results.rounds))
    ]
    steps = [str(count) for count in dict.fromkeys(counts) if count]
    looks = looks_of_rounds(results.rounds, seeds)
    error = error_of_looks(looks) if len(looks) > 1 else ALPHA
    if len(steps) < 2 and error <= ALPHA + 0.005:
        return ""
    each = f"{results.replicate}s"
    what = f"{each} were added after results could be seen, not by a rule ({', then '.join(steps)} {each})"
    if len(steps) < 2:
        what = "the rule by which seeds are added was changed after results could be seen"
    elif all(one.looks for one in results.rounds):
        what = f"{each} were added beyond the rule after results could be seen ({', then '.join(steps)} {each})"
    return f"{what}: the error can be {100 * error:.1f} % instead of 5 %"
