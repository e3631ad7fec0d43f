"""A study's results as data frames, with the study that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from search_spaces.errors import StudyError
from search_spaces.metrics import IMAGE_METRICS, Metric, metric_named, validation_counterpart
from search_spaces.rounds import Round
from search_spaces.study import StudySpec

FACTOR = "factor:"
"""Prefix of the trials columns that hold the level of each factor."""


@dataclass(frozen=True)
class StudyResults:
    """One study's results store, as read.

    ``trials`` has a row for each cell of the study as ``study.yaml`` describes it now (of a search: each trial of its
    space). Its columns are those of the store, one for each field of the trial config by its dotted path
    (``model.norm``; where the table has a column of that name, such as ``seed``, the table's is kept) and one
    ``factor:<name>`` for each factor. ``arm``, ``is_baseline`` and the factors' levels follow from the current study.
    ``other`` has the rows of cells that the current study does not have, with the arm's name of their time and ``why``;
    no comparison uses them. The other tables have the store's columns and the trial's ``arm``, ``seed`` and
    ``status``. ``problems`` describes what could not be read or was left out.

    Of a tuned ablation ``trials`` has the final cells, with their ``repeat`` and the ``trial`` that was chosen, and
    ``tuning`` the trials of the search inside each arm, with the same columns. A cell that several arms have, where one
    arm can be set to the same values as another, has a row for each; epochs and images are of the first. ``tuning`` is
    empty for other studies.

    ``spec`` is None where ``study.yaml`` could not be used; ``study_text`` is that file's text. ``rounds`` says when
    which seeds were planned; empty where the store does not say.
    """

    name: str
    spec: StudySpec | None
    environment: Mapping[str, Any]
    trials: pd.DataFrame
    epochs: pd.DataFrame
    quantiles: pd.DataFrame
    correct: pd.DataFrame
    landscape: pd.DataFrame
    curvature: pd.DataFrame
    problems: tuple[str, ...]
    other: pd.DataFrame = field(default_factory=pd.DataFrame)
    tuning: pd.DataFrame = field(default_factory=pd.DataFrame)
    planned_reference: str | None = None
    study_text: str = ""
    rounds: tuple[Round, ...] = ()

    @property
    def is_search(self) -> bool:
        """Whether the study is a search."""
        if self.spec is not None:
            return self.spec.mode == "search"
        return bool(len(self.trials) and (self.trials["mode"] == "search").all())

    @property
    def is_tuned(self) -> bool:
        """Whether the study is a tuned ablation: each arm was tuned before arms are compared."""
        return self.spec is not None and self.spec.tune is not None

    @property
    def replicate(self) -> str:
        """What one paired difference comes from: ``repeat`` in a tuned ablation, else ``seed``."""
        return self.spec.replicate if self.spec is not None else "seed"

    @property
    def trained(self) -> pd.DataFrame:
        """Every trial of the current study: ``trials`` and, of a tuned ablation, ``tuning``."""
        if not len(self.tuning):
            return self.trials
        both = pd.concat([self.tuning, self.trials], ignore_index=True)
        return both.drop_duplicates("digest", ignore_index=True)  # a cell that several arms have was trained once

    @property
    def metric(self) -> str:
        """The trials column that the study's verdicts are about."""
        return self.spec.metric if self.spec is not None else str(StudySpec.model_fields["metric"].default)

    @property
    def choose_by(self) -> str:
        """The metric by which the best epoch, ASHA's rungs and the best trial are chosen."""
        return self.spec.choose_by_metric() if self.spec is not None else validation_counterpart(self.metric)

    def metric_record(self, name: str | None = None) -> Metric:
        """Return the record of a metric, the study's own if ``name`` is None: its direction, unit, scale and label."""
        if self.spec is not None:
            return self.spec.metric_record(name)
        return metric_named(name or self.metric, IMAGE_METRICS)

    def metric_records(self, names: Iterable[str]) -> dict[str, Metric]:
        """Return the records of several metrics by name."""
        return {name: self.metric_record(name) for name in names}

    def rope(self, metric: str | None = None) -> float | None:
        """Return the study's region of practical equivalence, where it is in the unit of ``metric``; else None."""
        is_in_unit = self.metric_record().has_unit_of(self.metric_record(metric))
        return self.spec.rope if self.spec is not None and self.spec.rope and is_in_unit else None

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the factors, as the study orders them."""
        found = [column.removeprefix(FACTOR) for column in self.trials.columns if column.startswith(FACTOR)]
        order = list((self.spec.factors or self.spec.space or {}) if self.spec is not None else {})
        return tuple(sorted(found, key=lambda name: order.index(name) if name in order else len(order)))

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, the baseline first, then as the trials table has them."""
        return tuple(dict.fromkeys(self.trials["arm"]))

    @property
    def reference_arm(self) -> str:
        """The arm that the others are compared with: that of the study's design, else the baseline, else the first."""
        if self.planned_reference in self.arms:
            return str(self.planned_reference)
        baseline = self.trials.loc[self.trials["is_baseline"].fillna(False).astype(bool), "arm"]
        if len(baseline) or self.arms:
            return str(baseline.iloc[0] if len(baseline) else self.arms[0])
        raise StudyError(f"study {self.name!r} has no trials yet, so there is no arm to compare with; run it first")
