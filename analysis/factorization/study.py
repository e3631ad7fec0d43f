"""Matrices made of a study's results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from search_spaces.errors import StudyError, nearest

if TYPE_CHECKING:
    from analysis.store.load import StudyResults

TRIAL = ["digest", "fingerprint"]


def curves_matrix(results: StudyResults, metric: str | None = None) -> pd.DataFrame:
    """Return trials x epochs of an epochs metric (that which the study chooses by if None); NaN where not trained.

    Rows are labelled (digest, fingerprint) in the order of ``results.trials``, those without any epoch included;
    columns run from epoch 1 to the last one planned. Figures that are not finite (a diverged loss) are NaN.
    """
    metric = metric or results.choose_by
    epochs = _with_metric(results.epochs, metric, "epochs").drop_duplicates([*TRIAL, "epoch"], keep="last")
    matrix = epochs.pivot(index=TRIAL, columns="epoch", values=metric).astype(np.float64)
    longest = int(np.nanmax([results.trials["epochs_planned"].max(), epochs["epoch"].max(), 0]))
    rows = pd.MultiIndex.from_frame(results.trials[TRIAL])
    every_epoch = pd.RangeIndex(1, longest + 1, name="epoch")
    return matrix.reindex(index=rows, columns=every_epoch).replace([np.inf, -np.inf], np.nan)


def arms_by_seeds(results: StudyResults, metric: str | None = None) -> pd.DataFrame:
    """Return arms x seeds of a trials metric (the study's own if None); NaN where a cell has no figure.

    Arms are in the order of ``results.trials``, seeds ascending. StudyError where an arm has two trials of one seed.
    """
    metric = metric or results.metric
    trials = _with_metric(results.trials, metric, "trials")
    twice = trials.duplicated(["arm", "seed"])
    if twice.any():
        arm, seed = trials.loc[twice, ["arm", "seed"]].iloc[0]
        raise StudyError(f"arm {arm!r} has more than one trial of seed {seed}; keep one of them first")
    matrix = trials.pivot(index="arm", columns="seed", values=metric).astype(np.float64)
    ordered = matrix.reindex(index=pd.Index(trials["arm"].unique(), name="arm"))
    return ordered.replace([np.inf, -np.inf], np.nan)


def _with_metric(frame: pd.DataFrame, metric: str, name: str) -> pd.DataFrame:
    if metric in frame.columns and pd.api.types.is_numeric_dtype(frame[metric]):
        return frame
    valid = [str(column) for column in frame.columns if pd.api.types.is_numeric_dtype(frame[column])]
    raise StudyError(f"metric {metric!r} is not a column of numbers in `{name}`{nearest(metric, valid)}")
