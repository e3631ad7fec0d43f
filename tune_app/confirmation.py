"""The confirmation of a search: its best configurations against its baseline, with seeds that the search did not use.

The best of many trials looks better than it is, even on the test split, where it is one run. The confirmation is an
ablation of its own, ``<search>-confirm``, with one factor whose levels are whole configurations: it is planned, run,
resumed, extended and reported like any other, and the search's own store stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_spaces.config.defaults import explicit
from search_spaces.errors import StudyError
from search_spaces.factors import MAX_NAME
from search_spaces.store_schema import CONFIRMATION
from search_spaces.study import StudySpec
from search_spaces.study_files import study_from

if TYPE_CHECKING:
    from analysis import StudyResults

FACTOR = "top"


def confirmation_study(search: StudySpec, results: StudyResults, top: int = 3, seeds: int = 5) -> StudySpec:
    """Return the ablation of the ``top`` best configurations of a search against its baseline.

    ``results``: the search's store as loaded. Configurations are ranked by the metric that chooses, over trials that
    were trained in full; one that is the baseline itself is left out. The ``seeds`` follow those of the search. Raises
    StudyError where the study is no search or has no such trial.
    """
    if search.mode != "search":
        raise StudyError(f"study {search.name!r} is no search, so there is nothing to confirm; see its report")
    if top < 1 or seeds < 2:
        raise StudyError(f"`--top` is {top} and `--seeds` {seeds}, but must be at least 1 and at least 2")
    levels = best_configurations(search, results, top)
    if not levels:
        raise StudyError(f"search {search.name!r} has no trial yet that was trained in full; run it first")
    first = max(search.seeds) + 1
    tree = search.model_dump(mode="json", exclude={"space", "search", "reference", "sizes", "sequential"})
    return study_from(
        {
            **tree,
            "name": f"{search.name[: 64 - len(CONFIRMATION)]}{CONFIRMATION}",
            "question": f"Are the best configurations of the search {search.name} better than its baseline?",
            "mode": "ablation",
            "factors": {FACTOR: levels},
            "seeds": list(range(first, first + seeds)),
        }
    )


def best_configurations(search: StudySpec, results: StudyResults, top: int) -> dict[str, dict[str, object]]:
    """Return the best configurations of a search by name, the best first, each as a mapping from fields to values."""
    from analysis.report.facts import by_rank
    from analysis.store.cells import json_object
    from analysis.store.identity import value_at, values_name

    done = results.trials[results.trials["status"] == "completed"]
    if search.choose_by_metric() not in done.columns:
        return {}
    ranked = by_rank(done, results.metric_record(results.choose_by)).dropna(subset=[results.choose_by])
    found: dict[str, dict[str, object]] = {}
    known = {explicit(search.baseline).digest()}
    for text in ranked["config"]:
        config = json_object(text) or {}
        values = {path: value_at(config, path) for path in search.search_space().domains}
        digest = explicit(search.baseline.with_values(values)).digest()
        if digest not in known and len(found) < top:
            known.add(digest)
            name = f"{len(found) + 1}: {values_name(values)}"
            found[name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 3]}..."] = values
    return found
