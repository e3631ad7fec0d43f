"""What proposes the trials of a search: an Optuna sampler that knows what the store already holds.

Ray's own OptunaSearch reports a stopped trial to Optuna as complete with its low-budget value, and leaves a trial whose
metric is NaN running for ever. Ours asks and tells Optuna directly: a pruned trial with its intermediate values, a
diverged one as pruned without any (TPE ranks it last), and a config that is already done is never trained again.

Nothing here needs Ray: `ray_adapters` makes a Ray searcher of these.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from search_spaces.config import Config
from search_spaces.domains import Choice, IntRange, LogUniform
from search_spaces.errors import StudyError
from search_spaces.factors import label
from search_spaces.space import SearchSpace
from search_spaces.study_parts import Search
from tune_app.tuning.jobs import Job
from tune_app.tuning.queues import FINISHED

_TRIES = 100
"""Proposals in a row that are known already or refused, after which a sampler is asked no more; a grid ends by itself.

In a continuous space a known config that is proposed for the first time in a run does not count: a resumed sampler
draws again what it drew before.
"""

MAX_SHUFFLED = 1_000_000
"""Combinations of a grid that are held in memory at once; those of a larger one are drawn one by one."""


class OptunaSearcher:
    """Proposes configs of a search space through an Optuna sampler, up to a number of trials in all.

    A grid is proposed once, each combination, in an order drawn by the search's seed: Optuna's own GridSampler raises
    on the last one unless Optuna runs the loop.
    """

    def __init__(
        self,
        space: SearchSpace,
        search: Search,
        mode: str,
        make_job: Callable[[Config, Mapping[str, Any]], Job],
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space, self._make_job = space, make_job
        self._distributions = {path: distribution(domain) for path, domain in space.domains.items()}
        self._study = optuna.create_study(
            direction="maximize" if mode == "max" else "minimize", sampler=_sampler(space, search)
        )
        self.limit = space.count(search.trials)
        self._points = _grid_points(space, search) if search.searcher == "grid" else None
        self._asked: dict[str, optuna.Trial] = {}
        self._values: dict[str, dict[int, float]] = {}
        self._known: set[str] = set()
        self._drawn_again: set[str] = set()
        self.proposed = 0

    def learn(self, values: Mapping[str, Any], digest: str, status: str, curve: Mapping[int, float]) -> None:
        """Take in a trial of an earlier run: its values by path, status and objective by epoch."""
        self._known.add(digest)
        self.proposed += 1
        state, value, reported = _outcome(status, curve, self._better)
        self._study.add_trial(
            optuna.trial.create_trial(
                state=state,
                value=value,
                params={path: encode(self._space.domains[path], v) for path, v in values.items()},
                distributions=self._distributions,
                intermediate_values=dict(reported),
            )
        )

    def put_first(self, values: Mapping[str, Any]) -> None:
        """Propose these values before the sampler is asked: a trial of an earlier run that was cut off."""
        if self._points is None:  # a grid comes to them by itself
            self._enqueue(values)

    def suggest(self, trial_id: str) -> Any:
        """Return a job that nobody has trained, or FINISHED when the limit is reached or the space is exhausted."""
        tries = 0
        while self.proposed < self.limit:
            trial = self._ask() if tries < _TRIES or self._points is not None else self._unseen()
            if trial is None:
                break
            tries += 1
            values = {path: decode(self._space.domains[path], v) for path, v in trial.params.items()}
            try:
                config = self._space.config(values)
            except StudyError:
                self._study.tell(trial, state=TrialState.FAIL)
                continue
            digest = config.digest()
            if digest in self._known:  # Optuna knows its result, or will
                self._study.tell(trial, state=TrialState.FAIL)
                if self._space.size is None and digest not in self._drawn_again:
                    self._drawn_again.add(digest)
                    tries = 0
                continue
            self._known.add(digest)
            self._asked[trial_id], self._values[trial_id] = trial, {}
            self.proposed += 1
            return {"job": self._make_job(config, values).to_json()}
        return FINISHED

    def _ask(self) -> optuna.Trial | None:
        if self._points is not None:
            values = next(self._points, None)
            return None if values is None else self._ask_for(values)
        return self._study.ask(self._distributions)

    def _ask_for(self, values: Mapping[str, Any]) -> optuna.Trial:
        self._enqueue(values)
        return self._study.ask(self._distributions)

    def _enqueue(self, values: Mapping[str, Any]) -> None:
        self._study.enqueue_trial({path: encode(self._space.domains[path], v) for path, v in values.items()})

    def _unseen(self) -> optuna.Trial | None:
        """Return a trial of a finite space that is not known yet: a sampler that has settled proposes the same again.

        None where the space is exhausted, or continuous and yet the sampler proposes nothing new.
        """
        if self._space.size is None:
            return None
        for values in self._space.grid():
            try:
                if self._space.config(values).digest() not in self._known:
                    return self._ask_for(values)
            except StudyError:
                continue
        return None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep the objective of an epoch."""
        if "objective" in result and trial_id in self._values:
            self._values[trial_id][int(result["epoch"])] = float(result["objective"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell Optuna how a trial ended."""
        trial = self._asked.pop(trial_id, None)
        if trial is None:
            return
        result = result or {"status": "failed"}
        if not error:
            self.on_trial_result(trial_id, result)
        status = "failed" if error else result.get("status", "failed")
        curve = self._values.pop(trial_id)
        state, value, reported = _outcome(status, curve, self._better)
        for epoch, objective in sorted(reported.items()):
            trial.report(objective, epoch)
        self._study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)

    @property
    def _better(self) -> Callable[[Iterable[float]], float]:
        return max if self._study.direction == optuna.study.StudyDirection.MAXIMIZE else min


def _grid_points(space: SearchSpace, search: Search) -> Iterator[dict[str, Any]]:
    """Return the combinations in an order drawn by the seed: shuffled, or one by one where they are too many."""
    points, rng = space.grid(), random.Random(search.seed)  # a continuous domain is refused here
    if space.size is not None and space.size > MAX_SHUFFLED:
        return map(space.at, _distinct_indices(space.size, rng))
    shuffled = list(points)
    rng.shuffle(shuffled)
    return iter(shuffled)


def _distinct_indices(size: int, rng: random.Random) -> Iterator[int]:
    seen: set[int] = set()
    while len(seen) < size:
        index = rng.randrange(size)
        if index not in seen:
            seen.add(index)
            yield index


def _outcome(
    status: str, curve: Mapping[int, float], better: Callable[[Iterable[float]], float]
) -> tuple[TrialState, float | None, Mapping[int, float]]:
    """Return what Optuna learns of a trial: its state, its value, its intermediate values."""
    if status == "completed" and curve:
        return TrialState.COMPLETE, better(curve.values()), curve
    if status in ("pruned", "running") and curve:  # running: stopped by the scheduler
        return TrialState.PRUNED, None, curve
    return (TrialState.PRUNED if status == "diverged" else TrialState.FAIL), None, {}


def _sampler(space: SearchSpace, search: Search) -> optuna.samplers.BaseSampler:
    match search.searcher:
        case "random":
            return optuna.samplers.RandomSampler(seed=search.seed)
        case "tpe":
            return optuna.samplers.TPESampler(seed=search.seed, constant_liar=True)
        case "grid":
            return optuna.samplers.RandomSampler(seed=search.seed)  # never asked: every trial is enqueued


def distribution(domain: Any) -> BaseDistribution:
    """Return Optuna's distribution of a domain. Choices go by their position: Optuna's take only plain values."""
    if isinstance(domain, Choice):
        return CategoricalDistribution([label(value) for value in domain.values])
    if isinstance(domain, IntRange):
        return IntDistribution(domain.edges()[0], domain.edges()[1], step=domain.step)
    return FloatDistribution(domain.low, domain.high, log=isinstance(domain, LogUniform))


def encode(domain: Any, value: Any) -> Any:
    """Return a value of a domain as Optuna holds it: a choice by its label, as the study writes it (1 for 1.0)."""
    return label(domain.find(value)) if isinstance(domain, Choice) else value


def decode(domain: Any, value: Any) -> Any:
    """Return the value of a domain that Optuna holds."""
    return next(v for v in domain.values if label(v) == value) if isinstance(domain, Choice) else value
