"""From arrays of results to verdicts: the t tests of `analysis.stats.paired`, and where their verdict is withheld.

A verdict of the t tests (better, worse, equivalent) becomes "undecided" where

- runs of either arm collapse, or their results are uneven (spread, outlier, skewness), and the exact sign-flip test
  (6 to 12 pairs) or a studentised bootstrap (4, 5, or more than 12) does not confirm it at 5 %. With 3 pairs neither
  can; where the arms differ in spread alone, Welch's test decides, which allows for that;
- the runs of all arms together are skewed, and the verdict would not be reached for results of that skewness;
- comparable arms of the table collapse more often than the arm that the verdict favours, and the verdict would not be
  reached if it collapsed as often (`analysis.stats.collapse.Collapses.unseen`);
- the favoured arm lost runs (diverged, failed or pruned), and with the lost runs at chance level, or at the worst value
  of the table, the verdict is another. Where only the arm that does worse lost runs, the loss hid a worse result, so
  the verdict stands. "Equivalent" favours both arms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.stats.collapse import Bools, Collapses, find_collapses, share_p
from analysis.stats.distributions import t_sf
from analysis.stats.paired import (
    ALPHA,
    MOST_EXACT,
    Floats,
    PairedEffects,
    compare_differences,
    holm,
    sign_flip_p,
)
from analysis.stats.robust import (
    FEWEST_FOR_BOOTSTRAP,
    SUSPICIOUS,
    Ints,
    correlation,
    pooled_skewness,
    shape_warnings,
    skewed_t_p,
    spread_ratio_p,
    studentised_bootstrap_p,
    welch,
)

SKEWED = 0.05
"""Level of the test that the runs of all arms are skewed; where they are, verdicts have to hold for skewed results."""
FEWEST_FOR_SIGNS = 6
"""Pairs from which the exact sign-flip test can reach 5 %."""


@dataclass(frozen=True)
class Judged:
    """Verdicts of comparisons, one entry each, and what they rest on.

    ``effects``: the t tests, with the final verdicts. ``withheld``: "" or why a verdict of the t tests was withheld:
    "collapse", "uneven" or "lost". ``warnings``: findings about the shape of the results, in words. Counts of collapsed
    and lost runs are given for the arm and the reference, each with Fisher's exact p. ``welch_*``: the unpaired
    comparison. ``correlation``: between the arms, over seeds.
    """

    effects: PairedEffects
    withheld: list[str]
    warnings: list[str]
    collapsed: Ints
    reference_collapsed: Ints
    collapsed_p: Floats
    lost: Ints
    reference_lost: Ints
    lost_p: Floats
    runs: Ints
    reference_runs: Ints
    study_collapsed: tuple[int, int]
    welch_p: Floats
    welch_low: Floats
    welch_high: Floats
    correlation: Floats


def judge(
    values: Floats,
    pairs: list[tuple[int, int]],
    *,
    lost: Bools | None = None,
    fill: float | None = None,
    rope: float | None = None,
    higher_is_better: bool = True,
    resolution: float = 0.0,
    alpha: float = ALPHA,
    verdicts: Sequence[str] | None = None,
) -> Judged:
    """Return the verdicts of comparisons between rows of ``values``, shape (arms, seeds), NaN where there is no figure.

    ``pairs``: (arm, reference) row numbers; Holm's family is the list. ``lost``: (arms, seeds), True where a run was
    started and gave no result. ``fill``: the value that a lost run is given in the second computation, such as the
    chance level; None: the worst value in the table. ``verdicts``: those of another rule, in place of the t tests' with
    a fixed number of seeds; they are withheld for the same reasons. Other options as in `compare_differences`.
    """
    options: dict[str, Any] = {"rope": rope, "higher_is_better": higher_is_better, "resolution": resolution}
    arms, references = (np.array([pair[side] for pair in pairs], int) for side in (0, 1))
    found = compare_differences(values[arms] - values[references], alpha=alpha, **options)
    if verdicts is not None:
        found = replace(found, verdict=np.array(verdicts, str))
    collapses = find_collapses(values, higher_is_better)
    gone = np.zeros(values.shape, bool) if lost is None else lost
    warnings = [shape_warnings(values[arm], values[reference]) for arm, reference in pairs]
    uneven = _unconfirmed(values, pairs, found, collapses, warnings, alpha)
    skewed = _explained_by_skewness(values, arms, references, found, rope, alpha)
    unsafe = _not_robust_to_collapse(found, collapses, arms, references, rope, higher_is_better, alpha)
    changed = _changed_by_losses(values, arms, references, found, gone, fill, alpha, options)
    collapsing = collapses.count[arms] + collapses.count[references] > 0
    withheld = np.select(
        [found.verdict == "undecided", unsafe | ((uneven | skewed) & collapsing), uneven | skewed, changed],
        ["", "collapse", "uneven", "lost"],
        "",
    )
    verdict = np.where(withheld == "", found.verdict, "undecided")
    return Judged(
        effects=replace(found, verdict=verdict),
        withheld=withheld.tolist(),
        warnings=[
            "; ".join([*one, *["runs of all arms are skewed"] * bool(also)])
            for one, also in zip(warnings, skewed, strict=True)
        ],
        **_runs(collapses, gone, arms, references),
        **_beside(values, pairs, alpha),
    )


def _runs(collapses: Collapses, lost: Bools, arms: Ints, references: Ints) -> dict[str, Any]:
    """Return the counts of completed, collapsed and lost runs."""
    return {
        **_counts("collapsed", collapses.count, collapses.runs, arms, references),
        **_counts("lost", lost.sum(axis=1), collapses.runs + lost.sum(axis=1), arms, references),
        "runs": collapses.runs[arms],
        "reference_runs": collapses.runs[references],
        "study_collapsed": (int(collapses.count.sum()), int(collapses.runs.sum())),
    }


def _beside(values: Floats, pairs: list[tuple[int, int]], alpha: float) -> dict[str, Any]:
    """Return what is shown beside the paired comparison: Welch's test and the correlation."""
    unpaired = np.array([welch(values[arm], values[reference], alpha) for arm, reference in pairs]).reshape(-1, 3)
    return {
        "welch_p": unpaired[:, 0],
        "welch_low": unpaired[:, 1],
        "welch_high": unpaired[:, 2],
        "correlation": np.array([correlation(values[arm], values[reference]) for arm, reference in pairs]),
    }


def _counts(name: str, counts: Ints, runs: Ints, arms: Ints, references: Ints) -> dict[str, Any]:
    p = [
        share_p(int(counts[a]), int(runs[a]), int(counts[r]), int(runs[r]))
        for a, r in zip(arms, references, strict=True)
    ]
    return {name: counts[arms], f"reference_{name}": counts[references], f"{name}_p": np.array(p, float)}


def _unconfirmed(
    values: Floats,
    pairs: list[tuple[int, int]],
    found: PairedEffects,
    collapses: Collapses,
    warnings: list[list[str]],
    alpha: float,
) -> Bools:
    """Return where a difference between uneven or collapsing arms is not confirmed without the assumption of normality.

    By sign flips where they can reach 5 % and are exact (6 to 12 pairs), else by the studentised bootstrap. Not by
    both: where all runs of an arm but one collapse, the bootstrap contradicts even a difference that every seed shows.
    """
    doubted = np.zeros(len(pairs), bool)
    for place, (arm, reference) in enumerate(pairs):
        suspicious = bool(warnings[place]) or collapses.count[arm] + collapses.count[reference] > 0
        if not suspicious or found.verdict[place] not in ("better", "worse"):
            continue
        difference = values[arm] - values[reference]
        difference = difference[np.isfinite(difference)]
        only_spread = len(warnings[place]) == 1 and spread_ratio_p(values[arm], values[reference]) < SUSPICIOUS
        is_collapsing = collapses.count[arm] + collapses.count[reference] > 0
        if len(difference) < FEWEST_FOR_BOOTSTRAP and only_spread and not is_collapsing:
            p = welch(values[arm], values[reference], alpha)[0]
        elif FEWEST_FOR_SIGNS <= len(difference) <= MOST_EXACT:
            p = sign_flip_p(difference)
        else:
            p = studentised_bootstrap_p(difference)
        doubted[place] = p >= alpha
    return doubted


def _explained_by_skewness(
    values: Floats, arms: Ints, references: Ints, found: PairedEffects, rope: float | None, alpha: float
) -> Bools:
    """Return where a verdict could be due to the skewness that the arms show together.

    Where the runs of the arms with one reference are skewed at 5 %, each t is compared with that of values of the mean
    skewness of their differences.
    """
    doubted = np.zeros(len(arms), bool)
    for reference in np.unique(references[found.verdict != "undecided"]):
        rows = np.flatnonzero(references == reference)
        if pooled_skewness(values[arms[rows]])[1] >= SKEWED:
            continue
        skewness, _ = pooled_skewness(values[arms[rows]] - values[reference])
        n, sd, mean = found.n[rows], found.sd[rows], found.difference[rows]
        with np.errstate(divide="ignore", invalid="ignore"):
            se = sd / np.sqrt(n)
            differs, below, above = (skewed_t_p((mean + by) / se, n, skewness) for by in (0, rope or 0, -(rope or 0)))
        equal = np.maximum(below, above) / 2
        holds = np.where(found.verdict[rows] == "equivalent", holm(equal) < alpha, holm(differs) < alpha)
        doubted[rows] = (sd > 0) & ~holds
    return doubted


def _not_robust_to_collapse(
    found: PairedEffects,
    collapses: Collapses,
    arms: Ints,
    references: Ints,
    rope: float | None,
    higher_is_better: bool,
    alpha: float,
) -> Bools:
    """Return where the verdict fails once the favoured arm is given the share of collapses of comparable arms."""
    if not collapses.any:
        return np.zeros(len(arms), bool)
    unseen = np.array([collapses.unseen(arm) for arm in range(len(collapses.runs))])
    gain = found.difference if higher_is_better else -found.difference
    same = found.verdict == "equivalent"
    larger = np.where(unseen[arms, 0] > unseen[references, 0], arms, references)
    favoured = np.where(same, larger, np.where(gain > 0, arms, references))
    shift, variance = unseen[favoured].T
    freedom = np.maximum(found.n - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        se = np.sqrt(found.sd**2 / found.n + variance)
        differs = holm(2 * t_sf(np.maximum(np.abs(gain) - shift, 0) / se, freedom)) < alpha
        equal = holm(t_sf(((rope or 0) - np.abs(gain) - shift) / se, freedom)) < alpha
    unsafe: Bools = (shift > 0) & ~np.where(same, equal, differs)
    return unsafe


def _changed_by_losses(
    values: Floats,
    arms: Ints,
    references: Ints,
    found: PairedEffects,
    lost: Bools,
    fill: float | None,
    alpha: float,
    options: dict[str, Any],
) -> Bools:
    """Return where the verdict is another once lost runs count with ``fill`` or the worst value of the table."""
    finite = values[np.isfinite(values)]
    if not lost.any() or not len(finite):
        return np.zeros(len(arms), bool)
    worst = finite.min() if options["higher_is_better"] else finite.max()
    filled = np.where(lost & ~np.isfinite(values), worst if fill is None else fill, values)
    again = compare_differences(filled[arms] - filled[references], alpha=alpha, **options)
    lost_any = np.asarray(lost.any(axis=1))
    of_arm, of_reference = lost_any[arms], lost_any[references]
    favoured = np.select(
        [found.verdict == "better", found.verdict == "worse"], [of_arm, of_reference], of_arm | of_reference
    )
    flips: Bools = favoured & np.asarray(again.verdict != found.verdict)
    return flips
