"""The smallest difference that a planned study can detect, with the spread of its own store or of similar ones."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console

from analysis.stats.power import smallest_difference, smallest_difference_interval
from search_spaces._yaml import mapping_in, parse_stored
from search_spaces.errors import StudyError
from search_spaces.plan import Plan
from search_spaces.study import StudySpec
from tune_app.storage import Folder
from tune_app.tuning.preparation import objective
from tune_app.tuning.store.writer import ResultsStore, Stored

TYPICAL_SPREAD = 0.005 * 2**0.5
"""Standard deviation of paired differences that is assumed where no store has any: half a point in each arm."""
MOST_STORES = 50
"""Stores of a results folder that are read for similar studies."""


@dataclass(frozen=True)
class Spread:
    """A standard deviation of paired differences, the pairs that it was estimated from, and where, in words."""

    sd: float
    pairs: int
    origin: str


def find_spread(spec: StudySpec, store: ResultsStore, results: str, plan: Plan) -> Spread | None:
    """Return the spread in the study's own store, else in similar ones; an assumed one for a fraction, else None.

    ``plan``: with the cells that follow from results.
    """
    found = own_spread(spec, store, plan) or similar_spread(spec, results)
    if found is not None or spec.metric_record().bounds != (0.0, 1.0):
        return found
    return Spread(TYPICAL_SPREAD, 0, "assumed spread of differences")


def show_detectable(spec: StudySpec, spread: Spread | None, plan: Plan, out: Console) -> None:
    """Print the smallest difference that the seeds (or repeats) of a study detect, and its interval."""
    comparisons, what, n = len(plan.arms) - 1, spec.replicate, len(spec.seeds)
    if n < 2:
        remedy = "tune.repeats" if plan.tuning else "seeds"
        out.print(f"with 1 {what} no difference can be distinguished from chance; give `{remedy}: 5` or more")
        return
    choices = f"choices are made by {objective(spec)[0]}"
    if spread is None:
        out.print(
            f"the smallest difference in {spec.metric} that {n} paired {what}s detect is known once two {what}s of two "
            f"arms are trained; {choices}"
        )
        return
    smallest = smallest_difference(n, spread.sd, comparisons=comparisons)
    between = ""
    if spread.pairs >= 2:
        low, high = smallest_difference_interval(n, spread.sd, comparisons=comparisons, pairs=spread.pairs)
        between = f" (from {low:.2g} to {high:.2g}, since {spread.pairs} pairs give only a rough spread)"
    out.print(
        f"smallest difference in {spec.metric} that {n} paired {what}s detect (80 % power, 5 % error over "
        f"{comparisons} comparisons): {smallest:.2g}{between} with the {spread.origin}, {spread.sd:.2g}; {choices}"
    )


def own_spread(spec: StudySpec, store: ResultsStore, plan: Plan) -> Spread | None:
    """Return the median spread of the arms that the study's own store holds; None without two pairs of any."""
    arms = {arm.name for arm in plan.arms}
    names = {(cell.digest, cell.config.seed): cell.arm.name for cell in plan.cells if cell.arm.name in arms}
    own = ((names.get((trial.digest, trial.seed), ""), trial) for trial in store.trials())
    return _median([_spreads(own, spec.metric, plan.reference_arm)], "observed spread of differences")


def similar_spread(spec: StudySpec, results: str) -> Spread | None:
    """Return the median spread of similar studies in the results folder; None where there is none.

    Similar are studies of the same data (source and number of training images) or training function, with as many
    epochs, that measured the same metric. Stores that cannot be read are left out.
    """
    task = spec.task.run if spec.task is not None else None
    wanted, found = _likeness(spec.baseline.model_dump(mode="json"), task), {}
    for name in Folder(results).names()[:MOST_STORES]:
        store = ResultsStore(results, name)
        if name == spec.name or not store.folder.exists("study.yaml"):
            continue
        try:
            place = store.folder.path("study.yaml")
            tree = mapping_in(parse_stored(store.folder.read("study.yaml"), place), place, "the study's keys")
            trials = store.trials()
        except StudyError:
            continue
        alike = ((t.arm, t) for t in trials if _likeness(t.config, t.task) == wanted)
        if spreads := _spreads(alike, spec.metric, str(tree.get("reference_arm"))):
            found[name] = spreads
    return _median(list(found.values()), f"spread of differences in similar studies ({', '.join(found)})")


def _likeness(config: Mapping[str, Any], task: str | None) -> tuple[Any, ...]:
    data = config.get("data") or {}
    return task, config.get("epochs"), data.get("source"), data.get("train_size")


def _spreads(trials: Iterable[tuple[str, Stored]], metric: str, reference_arm: str) -> list[tuple[float, int]]:
    """Return (spread, pairs) of the differences of each arm from the reference arm over common seeds."""
    values: dict[str, dict[int, float]] = {}
    for arm, trial in trials:
        value = trial.metrics.get(metric)
        if trial.status == "completed" and value is not None:
            values.setdefault(arm, {})[trial.seed] = value
    reference = values.pop(reference_arm, {})
    differences = [[arm[seed] - reference[seed] for seed in arm if seed in reference] for arm in values.values()]
    found = [(float(np.std(d, ddof=1)), len(d)) for d in differences if len(d) >= 2]
    return [(sd, pairs) for sd, pairs in found if sd > 0]


def _median(studies: list[list[tuple[float, int]]], origin: str) -> Spread | None:
    """Return the median spread over all arms, with the pairs of a single typical arm."""
    arms = [arm for study in studies for arm in study]
    if not arms:
        return None
    return Spread(statistics.median(sd for sd, _ in arms), int(statistics.median(pairs for _, pairs in arms)), origin)
