"""Claims of a study's reference, each with a verdict, and its reported figures beside ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.stats.effects import compare_arms
from analysis.stats.flatness import ROUGHNESS, roughness
from analysis.stats.means import reported_data
from analysis.store.load import StudyResults
from search_spaces.published import Claim, Figure

OUTCOMES = ("supported", "contradicted", "undecided")
RULE = (
    "A claim is supported where the comparison's own verdict is the one it expects, contradicted where it is another, "
    "and undecided where nothing could be shown. The comparisons are those of the effects, by paired t test and "
    "equivalence test; Holm's family is a study's claims about one metric."
)
_COMPARED = ("n", "difference", "low", "high", "p_holm", "equivalent_holm", "words")
_COLUMNS = ["text", "arm", "against", "expect", "metric", *_COMPARED[:-1], "verdict", "words"]


def claims(results: StudyResults) -> pd.DataFrame:
    """Return one row for each claim of the study's reference, in its order.

    Columns: text, arm, against, expect, metric, n (pairs), difference (arm minus against), low, high (95 % t
    interval), p_holm, equivalent_holm, verdict (supported, contradicted or undecided), words. A claim of "better" is
    contradicted by "equivalent" too: no difference that would matter is there. A claim whose arms have no trials, or
    whose metric was not measured, is undecided with n = 0.
    """
    stated = [claim.model_copy(update={"metric": claim.metric or results.metric}) for claim in stated_claims(results)]
    rows: dict[int, dict[str, Any]] = {}
    for metric in dict.fromkeys(claim.metric for claim in stated):
        measured = _measured(results, metric)
        tested = {}
        for place, claim in enumerate(stated):
            if claim.metric == metric and {claim.arm, claim.against} <= set(measured):
                tested[place] = (claim.arm, claim.against)
            elif claim.metric == metric:
                rows[place] = {"n": 0, "verdict": "undecided", "words": _absent(claim, measured)}
        compared = _compared(results, list(tested.values()), metric) if tested else pd.DataFrame()
        for place, found in zip(tested, compared.to_dict("records"), strict=True):
            verdict = _outcome(stated[place].expect, found["verdict"])
            rows[place] = {name: found[name] for name in _COMPARED} | {"verdict": verdict}
    table = pd.DataFrame([dict(claim) | rows[place] for place, claim in enumerate(stated)], columns=_COLUMNS)
    return table.astype({"n": "int64"} | dict.fromkeys(_COMPARED[1:-1], "float64"))


def reported(results: StudyResults) -> pd.DataFrame:
    """Return one row for each reported figure, in the reference's order.

    Columns: arm, metric, theirs, ours (mean over completed trials), low, high (95 % t interval), n, note. Ours is NaN
    with n = 0 where the arm has no completed trial.
    """
    table = reported_data(results.trials, stated_figures(results))
    table = table.rename(columns={"reported": "theirs", "mean": "ours"})
    return table[["arm", "metric", "theirs", "ours", "low", "high", "n", "note"]]


def stated_claims(results: StudyResults) -> Sequence[Claim]:
    """Return the claims of the study's reference; none where it has no reference."""
    reference = results.spec.reference if results.spec is not None else None
    return reference.claims if reference is not None else ()


def stated_figures(results: StudyResults) -> Sequence[Figure]:
    """Return the published figures of the study's reference; none where it has no reference."""
    reference = results.spec.reference if results.spec is not None else None
    return reference.figures if reference is not None else ()


def _measured(results: StudyResults, metric: str) -> list[str]:
    """Return the arms that a claim about the metric can be tested on."""
    if metric != ROUGHNESS:
        return list(results.arms)
    return list(dict.fromkeys(results.trials.loc[roughness(results).notna(), "arm"]))


def _absent(claim: Claim, measured: list[str]) -> str:
    missing = [arm for arm in (claim.arm, claim.against) if arm not in measured]
    what = "loss landscape" if claim.metric == ROUGHNESS else "trial"
    remedy = " (`tune-app landscape` computes them)" if claim.metric == ROUGHNESS else ""
    return f"cannot tell: there is no {what} of {' and '.join(missing)}{remedy}"


def _compared(results: StudyResults, pairs: list[tuple[str, str]], metric: str) -> pd.DataFrame:
    if metric != ROUGHNESS:
        return compare_arms(results, pairs, metric)
    with_it = dataclasses.replace(results, trials=results.trials.assign(**{ROUGHNESS: roughness(results)}))
    return compare_arms(with_it, pairs, metric, rope=0.0)


def _outcome(expected: str, verdict: str) -> str:
    if verdict == "undecided":
        return "undecided"
    return "supported" if verdict == expected else "contradicted"
