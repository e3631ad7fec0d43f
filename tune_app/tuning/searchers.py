"""Who proposes the next job: a queue of cells, or an Optuna sampler that knows what the store already holds.

Ray's own OptunaSearch tells Optuna that a stopped trial is complete with its low-budget value, and leaves a trial whose
metric is NaN running for ever. Ours asks and tells Optuna directly: a pruned trial is told with its intermediate
values, a diverged one as failed, and a config that is already done is never trained again.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from ray.tune.search import Searcher

from search_spaces.domains import Choice, IntRange, LogUniform
from search_spaces.errors import StudyError
from search_spaces.factors import label
from search_spaces.space import SearchSpace
from search_spaces.study import Search
from search_spaces.trial import TrialConfig
from tune_app.tuning.jobs import Job

_STATES = {"completed": TrialState.COMPLETE, "pruned": TrialState.PRUNED}


class QueueSearcher(Searcher):
    """Hands out the given jobs in order."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        super().__init__(metric="objective", mode="max")
        self._jobs = deque(jobs)

    def suggest(self, trial_id: str) -> Any:
        """Return the next job, or FINISHED."""
        return {"job": self._jobs.popleft().to_json()} if self._jobs else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: the queue is fixed."""

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the results store says what is left to do."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class OptunaSearcher(QueueSearcher):
    """Proposes configs of a search space through an Optuna sampler, up to a number of trials in all."""

    def __init__(
        self,
        space: SearchSpace,
        search: Search,
        mode: str,
        make_job: Callable[[TrialConfig, Mapping[str, Any]], Job],
    ) -> None:
        super().__init__(())
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space, self._make_job = space, make_job
        self._distributions = {path: distribution(domain) for path, domain in space.domains.items()}
        self._study = optuna.create_study(
            direction="maximize" if mode == "max" else "minimize", sampler=_sampler(space, search)
        )
        self._limit = search.trials if search.searcher != "grid" else min(search.trials, space.size or search.trials)
        self._asked: dict[str, optuna.Trial] = {}
        self._values: dict[str, dict[int, float]] = {}
        self._known: dict[str, tuple[str, dict[int, float]]] = {}
        self.proposed = 0

    def learn(self, values: Mapping[str, Any], digest: str, status: str, curve: Mapping[int, float]) -> None:
        """Take in a trial of an earlier run: its values by path, status and objective by epoch."""
        self._known[digest] = (status, dict(curve))
        self.proposed += 1
        state, value = _outcome(status, curve, self._better)
        self._study.add_trial(
            optuna.trial.create_trial(
                state=state,
                value=value,
                params={path: encode(self._space.domains[path], v) for path, v in values.items()},
                distributions=self._distributions,
                intermediate_values=dict(curve) if state != TrialState.FAIL else None,
            )
        )

    def suggest(self, trial_id: str) -> Any:
        """Return a job that nobody has trained, or FINISHED when the limit is reached or the space is exhausted."""
        for _ in itertools.repeat(None, 200):
            if self.proposed >= self._limit:
                break
            trial = self._study.ask(self._distributions)
            values = {path: decode(self._space.domains[path], v) for path, v in trial.params.items()}
            try:
                config = self._space.config(values)
            except StudyError:
                self._study.tell(trial, state=TrialState.FAIL)
                continue
            digest = config.digest()
            if digest in self._known:
                status, curve = self._known[digest]
                self._tell(trial, status, curve)
                continue
            self._known[digest] = ("running", {})
            self._asked[trial_id], self._values[trial_id] = trial, {}
            self.proposed += 1
            return {"job": self._make_job(config, values).to_json()}
        return Searcher.FINISHED

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
        status = "failed" if error else {"running": "pruned"}.get(result["status"], result["status"])
        curve = self._values.pop(trial_id)
        self._known[self._digest_of(trial)] = (status, curve)
        self._tell(trial, status, curve)

    def _digest_of(self, trial: optuna.Trial) -> str:
        values = {path: decode(self._space.domains[path], v) for path, v in trial.params.items()}
        return self._space.config(values).digest()

    def _tell(self, trial: optuna.Trial, status: str, curve: Mapping[int, float]) -> None:
        if status == "running":  # a twin that is being trained now: nothing is known of it yet
            status = "failed"
        state, value = _outcome(status, curve, self._better)
        if state != TrialState.FAIL:
            for epoch, objective in sorted(curve.items()):
                trial.report(objective, epoch)
        self._study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)

    @property
    def _better(self) -> Callable[[Iterable[float]], float]:
        return max if self._study.direction == optuna.study.StudyDirection.MAXIMIZE else min


def _outcome(
    status: str, curve: Mapping[int, float], better: Callable[[Iterable[float]], float]
) -> tuple[TrialState, float | None]:
    state = _STATES.get(status, TrialState.FAIL) if curve else TrialState.FAIL
    return state, better(curve.values()) if state != TrialState.FAIL else None


def _sampler(space: SearchSpace, search: Search) -> optuna.samplers.BaseSampler:
    match search.searcher:
        case "random":
            return optuna.samplers.RandomSampler(seed=search.seed)
        case "tpe":
            return optuna.samplers.TPESampler(seed=search.seed, constant_liar=True)
        case "grid":
            next(space.grid())  # a continuous domain is refused here
            grid = {path: [encode(domain, v) for v in domain.grid()] for path, domain in space.domains.items()}
            return optuna.samplers.GridSampler(grid, seed=search.seed)


def distribution(domain: Any) -> BaseDistribution:
    """Return Optuna's distribution of a domain. Choices go by their position: Optuna's take only plain values."""
    if isinstance(domain, Choice):
        return CategoricalDistribution([label(value) for value in domain.values])
    if isinstance(domain, IntRange):
        return IntDistribution(domain.edges()[0], domain.edges()[1], step=domain.step)
    return FloatDistribution(domain.low, domain.high, log=isinstance(domain, LogUniform))


def encode(domain: Any, value: Any) -> Any:
    """Return a value of a domain as Optuna holds it: a choice by its label."""
    return label(value) if isinstance(domain, Choice) else value


def decode(domain: Any, value: Any) -> Any:
    """Return the value of a domain that Optuna holds."""
    return next(v for v in domain.values if label(v) == value) if isinstance(domain, Choice) else value
