"""Claims of a study's reference with their outcomes, and its published figures with the measured ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.stats.derived import is_computed, with_metric
from analysis.stats.effects import compare_arms
from analysis.stats.means import reported_data
from analysis.stats.order import compare_order
from analysis.stats.paired import ALPHA, one_sided
from analysis.stats.stopping import course_of
from analysis.store.load import StudyResults
from search_spaces.metrics import LANDSCAPE_METRICS, require_direction
from search_spaces.published import Claim, Figure

OUTCOMES = ("held", "too small to matter", "did not hold", "undecided at this scale")
RULE = (
    "A claim of better or worse held where this study shows that difference, and did not hold where it shows the "
    "opposite or that there is no difference large enough to matter. Where the claimed difference is real but smaller "
    "than what the study counts as relevant, the outcome is “too small to matter”. A claim of equivalence held where "
    "the difference is shown to be smaller than that, and did not hold only where it is shown to be larger. A claim "
    "of an order held where each arm is shown to be better than the next, is “too small to matter” where that is real "
    "and some step smaller than what matters, and did not hold where any two arms are shown the other way round. "
    "Everything else is undecided at this scale. The tests are those of the effects; Holm's family is a study's "
    "claims about one metric with one region of practical equivalence. q is the false discovery rate over all claims "
    "of the page (Benjamini and Hochberg), of tests in the claimed direction; a claim whose test was withheld, or was "
    "decided by the looks of a sequential study, has none."
)
_COMPARED = ("n", "difference", "low", "high", "p_holm", "equivalent_holm", "beyond_holm", "p_claim", "words")
_COLUMNS = ["text", "arm", "against", "expect", "metric", *_COMPARED[:-1], "verdict", "words"]


def claims(results: StudyResults) -> pd.DataFrame:
    """Return one row for each claim of the study's reference, in its order.

    Columns: text, arm, against, expect, metric, n (pairs), difference (arm minus against), low, high (95 % t
    interval), p_holm, equivalent_holm, beyond_holm, p_claim (uncorrected and one-sided, small where the claim holds: of
    the t test, of the equivalence test, or the largest over the steps of an order; NaN where the verdict is withheld or
    comes from looks), verdict (one of `OUTCOMES`, by `claim_outcome`), words. A claim whose arms have no trials, or
    whose metric was not measured, is undecided with n = 0. In a sequential study a claim about its metric and reference
    arm has the verdict of the looks, and every claim is undecided until the last look was made.
    """
    stated = [claim.model_copy(update={"metric": claim.metric or results.metric}) for claim in stated_claims(results)]
    rows: dict[int, dict[str, Any]] = {}
    for metric, rope in dict.fromkeys((claim.metric, claim.rope) for claim in stated):
        family = {place: claim for place, claim in enumerate(stated) if (claim.metric, claim.rope) == (metric, rope)}
        rows |= _family(with_metric(results, metric), family, metric, rope)
    course = course_of(results)
    if course is not None and not course.complete:
        rows = {place: row | _too_early(row["words"]) for place, row in rows.items()}
    table = pd.DataFrame([_stated(claim) | rows[place] for place, claim in enumerate(stated)], columns=_COLUMNS)
    return table.astype({"n": "int64"} | dict.fromkeys(_COMPARED[1:-1], "float64"))


def _stated(claim: Claim) -> dict[str, Any]:
    return dict(claim) | {"arm": claim.arm or ", ".join(claim.order)}


def _too_early(words: str) -> dict[str, Any]:
    return {
        "p_claim": float("nan"),
        "verdict": OUTCOMES[-1],
        "words": f"{words}; the study needs further looks",
    }


def _family(
    results: StudyResults, family: Mapping[int, Claim], metric: str, rope: float | None
) -> dict[int, dict[str, Any]]:
    """Return the columns of claims about one metric, by their place; Holm's family is those that compare two arms."""
    measured = _measured(results, metric)
    rows: dict[int, dict[str, Any]] = {}
    pairs: dict[bool, dict[int, tuple[str, str]]] = {True: {}, False: {}}
    for place, claim in family.items():
        if not set(claim.compared) <= set(measured):
            rows[place] = {"n": 0, "verdict": OUTCOMES[-1], "words": _absent(results, claim, measured)}
        elif claim.order:
            found = compare_order(results, claim.order, metric, rope)
            rows[place] = found | {"verdict": OUTCOMES[found.pop("outcome")]}
        else:
            pairs[_is_of_looks(results, claim, metric, rope)][place] = (claim.arm, claim.against)
    for by_rule, chosen in pairs.items():
        compared = compare_arms(results, list(chosen.values()), metric, rope, by_rule=by_rule) if chosen else None
        for place, row in zip(chosen, () if compared is None else compared.to_dict("records"), strict=True):
            columns = {str(name): value for name, value in row.items()}
            rows[place] = _tested(results, family[place].expect, columns, metric, by_rule)
    return rows


def _is_of_looks(results: StudyResults, claim: Claim, metric: str, rope: float | None) -> bool:
    """Return whether the looks of a sequential study decide what a claim is about."""
    is_sequential = results.spec is not None and results.spec.sequential is not None
    is_own = metric == results.metric and claim.against == results.reference_arm
    return is_sequential and is_own and rope in (None, results.rope(metric))


def how_tested(row: Any, label: str) -> str:
    """Return in words what was tested of a row of `claims`; ``label``: the metric's."""
    if row.expect == "order":
        return f"best to worst: {row.arm}; {label}"
    return f"{row.arm} {row.expect} {'to' if row.expect == 'equivalent' else 'than'} {row.against}, {label}"


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
    if not is_computed(results, metric):
        return list(results.arms)
    return list(dict.fromkeys(results.trials.loc[results.trials[metric].notna(), "arm"]))


def _absent(results: StudyResults, claim: Claim, measured: list[str]) -> str:
    missing = [arm for arm in claim.compared if arm not in measured]
    what, remedy = "trial", ""
    computed = claim.metric if is_computed(results, claim.metric) else ""
    if computed in LANDSCAPE_METRICS:
        what, remedy = "loss landscape", " (`tune-app landscape` computes them)"
    elif computed:
        what = computed
        remedy = " (`probes: {train_clean: true}` measures it)" if "clean" in computed else ""
    return f"cannot tell: there is no {what} of {' and '.join(missing)}{remedy}"


def _tested(
    results: StudyResults, expected: str, found: Mapping[str, Any], metric: str, by_rule: bool
) -> dict[str, Any]:
    """Return the columns of a claim whose arms were compared; ``by_rule``: its verdict is that of the looks."""
    gain = found["difference"] if require_direction(results.metric_record(metric)) else -found["difference"]
    outcome = claim_outcome(
        expected,
        gain=gain,
        differs=found["verdict"] in ("better", "worse") if by_rule else found["p_holm"] < ALPHA,
        equivalent=found["verdict"] == "equivalent" if by_rule else found["equivalent_holm"] < ALPHA,
        beyond=found["beyond_holm"] < ALPHA,
        withheld=bool(found["withheld"]),
    )
    p = float("nan") if by_rule or found["withheld"] else _p_claim(expected, gain, found)
    return {**{name: found[name] for name in _COMPARED if name != "p_claim"}, "p_claim": p, "verdict": outcome}


def _p_claim(expected: str, gain: float, found: Mapping[str, Any]) -> float:
    """Return the p of what is claimed: one-sided in its direction, or that of the equivalence test."""
    if expected == "equivalent":
        return float(found["equivalent_p"])
    return one_sided(float(found["p_t"]), (gain > 0) == (expected == "better"))


def claim_outcome(
    expected: str, *, gain: float, differs: bool, equivalent: bool, beyond: bool, withheld: bool = False
) -> str:
    """Return the outcome of a claim, one of `OUTCOMES`.

    ``expected``: better, worse or equivalent. ``gain``: the difference, positive where the arm is better. What was
    shown: ``differs``, a difference; ``equivalent``, that it is smaller than the rope; ``beyond``, that it is larger.
    ``withheld``: whether the verdict was withheld (`analysis.stats.verdicts`), which leaves every claim undecided.
    """
    held, small, failed, undecided = OUTCOMES
    if withheld:
        return undecided
    if expected == "equivalent":
        return held if equivalent else failed if beyond else undecided
    as_claimed = (gain > 0) == (expected == "better")
    if differs and not as_claimed:
        return failed
    if equivalent:
        return small if differs else failed
    return held if differs else undecided
