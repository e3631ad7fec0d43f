"""Which factor matters in a search: fANOVA and PED-ANOVA side by side, by Optuna's evaluators.

fANOVA (Hutter et al. 2014) shares out the variance of a random forest over the whole space; PED-ANOVA (Watanabe et al.
2023) asks which factors separate the best trials from the rest. A factor that only decides whether a trial fails is
high in the first and low in the second. The shares of each add up to 1 even where all differences are noise.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances

from analysis.store._rows import level_text
from analysis.store.load import FACTOR, StudyResults
from search_spaces.domains import IntRange, LogUniform, Uniform
from search_spaces.metrics import require_direction

_FEWEST, _PER_FACTOR, _TOP = 30, 10, 10
_IMPOSSIBLE = 4


@dataclass(frozen=True)
class Importances:
    """``table``: factor, fanova, ped_anova, each a share of 1, the greatest fANOVA first; ``warnings`` in words."""

    table: pd.DataFrame
    trials: int
    warnings: tuple[str, ...]


def importances(results: StudyResults, metric: str | None = None, seed: int = 0) -> Importances:
    """Return how much each factor matters to ``metric`` (if None: `choose_by` in a search, else the study's own).

    Only completed trials count: the figure of a pruned one is of a shorter training.
    """
    metric = metric or (results.choose_by if results.is_search else results.metric)
    trials = results.trials[(results.trials["status"] == "completed") & results.trials[metric].notna()]
    factors = [name for name in results.factors if len(set(map(level_text, trials[FACTOR + name]))) > 1]
    said = _warnings(results, len(trials), factors)
    is_flat = trials[metric].nunique() == 1
    if is_flat:
        label = results.metric_record(metric).label
        said = (f"all completed trials have the same {label}: no factor has a share", *said)
    if is_flat or not factors or len(trials) < _IMPOSSIBLE:
        return Importances(pd.DataFrame(columns=["factor", "fanova", "ped_anova"]), len(trials), said)
    is_higher_better = require_direction(results.metric_record(metric))
    space = {name: _distribution(results, trials[FACTOR + name], name) for name in factors}
    study = _study(trials, metric, is_higher_better, space)
    top = float(np.clip(_TOP / len(trials), 0.1, 0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "Target and region quantiles select the same set", UserWarning)
        evaluators = {
            "fanova": FanovaImportanceEvaluator(seed=seed),
            "ped_anova": PedAnovaImportanceEvaluator(target_quantile=top),
        }
        found = {name: get_param_importances(study, evaluator=evaluator) for name, evaluator in evaluators.items()}
    table = pd.DataFrame({"factor": factors} | {name: [shares[f] for f in factors] for name, shares in found.items()})
    return Importances(table.sort_values("fanova", ascending=False, ignore_index=True), len(trials), said)


def _warnings(results: StudyResults, count: int, factors: list[str]) -> tuple[str, ...]:
    said = []
    enough = max(_FEWEST, _PER_FACTOR * len(factors))
    if count < _IMPOSSIBLE:
        said.append(f"{count} completed trials are too few to say which factor matters")
    elif count < enough:
        said.append(
            f"{count} completed trials for {len(factors)} factors are few: below about {enough} the shares are mostly "
            "chance, so do not rank factors by them"
        )
    constant = [name for name in results.factors if name not in factors]
    if constant:
        said.append(f"no share for {', '.join(constant)}: all completed trials have the same level")
    left_out = int((results.trials["status"] == "pruned").sum())
    if left_out:
        said.append(
            f"{left_out} pruned trials are left out, so what is left was chosen for being good: a factor whose bad "
            "levels were pruned looks less important than it is"
        )
    return tuple(said)


def _study(
    trials: pd.DataFrame, metric: str, is_higher_better: bool, space: Mapping[str, BaseDistribution]
) -> optuna.Study:
    """Return an Optuna study in memory that holds the trials."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if is_higher_better else "minimize")
    optuna.logging.set_verbosity(verbosity)
    columns = {name: trials[FACTOR + name].tolist() for name in space}
    for row, value in enumerate(trials[metric].tolist()):
        params = {name: _level(column[row], space[name]) for name, column in columns.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=dict(space), value=value))
    return study


def _distribution(results: StudyResults, levels: pd.Series[Any], name: str) -> BaseDistribution:
    """Return the domain that the study states, else the range or the values seen."""
    space = results.spec.space if results.spec is not None else None
    domain = (space or {}).get(name)
    if isinstance(domain, Uniform):
        return FloatDistribution(domain.low, domain.high, log=isinstance(domain, LogUniform))
    if isinstance(domain, IntRange):
        return IntDistribution(domain.low, domain.high)
    if pd.api.types.is_float_dtype(levels) and levels.notna().all() and levels.nunique() > _PER_FACTOR:
        return FloatDistribution(float(levels.min()), float(levels.max()))
    return CategoricalDistribution(sorted(set(map(level_text, levels))))


def _level(level: Any, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return level_text(level)
    return int(level) if isinstance(distribution, IntDistribution) else float(level)
