"""Main effects and interactions of a factorial study, with the seed as a block.

Ordinary least squares of the metric on seed + factors + interactions, tested with type II sums of squares (Langsrud
2003): each effect is tested with all others that do not contain it. In a balanced study types I, II and III agree.
Where cells are missing, type II has the greater power for main effects and does not depend on how levels are coded,
whereas type III tests a main effect in the presence of its own interaction, with weights of the levels that have
no meaning here.

Of effects that are confounded (see `aliases`) only the first of each chain is in the model: it represents them all.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from statsmodels.stats.anova import anova_lm

from analysis.stats.aliases import Term, alias_table, estimable_terms, term_name
from analysis.stats.paired import holm
from analysis.stats.pairs import metric_table
from analysis.store.load import FACTOR, StudyResults
from search_spaces.errors import StudyError


@dataclass(frozen=True)
class Anova:
    """An analysis of variance.

    ``table`` has one row for each effect: effect, aliased_with, df, sum_sq, f, p, p_holm, partial_eta2, partial_omega2
    (the first is biased upwards, the second is not, and may fall below 0). ``notes`` say what the design does not
    allow.
    """

    table: pd.DataFrame
    residual_df: int
    residual_sd: float
    notes: tuple[str, ...]


def anova(results: StudyResults, metric: str | None = None, order: int = 2) -> Anova:
    """Return the analysis of variance of completed cells, with interactions of up to ``order`` factors.

    Raises StudyError where no factor varies or there are no cells.
    """
    cells = _cells(results, metric)
    levels = cells.drop(columns=["y", "seed"])
    factors = [name for name in levels.columns if levels[name].nunique() > 1]
    if not factors:
        raise StudyError(f"study {results.name!r} has no factor with completed cells at two levels: nothing to analyse")
    terms = [term for size in range(1, order + 1) for term in itertools.combinations(factors, size)]
    arms = levels[factors].drop_duplicates()
    kept = estimable_terms(arms, terms)
    chains = alias_table(arms, max_order=max(order, 3)).set_index("effect")["aliased_with"]
    notes = [
        f"{term_name(t)} cannot be estimated together with the other effects: not in the model"
        for t in terms
        if t not in kept
    ]
    table, residual_df, residual_sd = _fit(cells, factors, kept)
    if not residual_df:
        notes.append("every degree of freedom is used by the effects: add seeds to test them")
    table.insert(1, "aliased_with", [chains.get(effect, "") for effect in table["effect"]])
    return Anova(table, residual_df, residual_sd, tuple(notes))


def _cells(results: StudyResults, metric: str | None) -> pd.DataFrame:
    """Return one row per completed cell: y, seed and the level of each factor, as text."""
    figures = metric_table(results, metric).reset_index().melt("arm", var_name="seed", value_name="y").dropna()
    columns = [FACTOR + name for name in results.factors]
    levels = results.trials.drop_duplicates("arm").set_index("arm")[columns].astype(str)
    levels.columns = pd.Index(results.factors)
    return figures.join(levels, on="arm").drop(columns="arm")


def _fit(cells: pd.DataFrame, factors: list[str], terms: list[Term]) -> tuple[pd.DataFrame, int, float]:
    letters = {name: f"f{place}" for place, name in enumerate(factors)}
    data = cells.rename(columns=letters).astype({"seed": str})
    words = [":".join(f"C({letters[name]}, Sum)" for name in term) for term in terms]
    block = ["C(seed, Sum)"] if data["seed"].nunique() > 1 else []
    model = smf.ols("y ~ " + " + ".join(block + words), data).fit()
    residual_df = round(float(model.df_resid))
    if residual_df < 1:
        empty = dict.fromkeys(("sum_sq", "f", "p", "p_holm", "partial_eta2", "partial_omega2"), np.nan)
        rows = [{"effect": term_name(term), "df": np.nan, **empty} for term in terms]
        return pd.DataFrame(rows), 0, float("nan")
    found = anova_lm(model, typ=2).loc[words]
    error, spread = float(model.ssr), float(model.ssr) / residual_df
    table = pd.DataFrame(
        {
            "effect": [term_name(term) for term in terms],
            "df": found["df"].to_numpy().astype(int),
            "sum_sq": found["sum_sq"].to_numpy(),
            "f": found["F"].to_numpy(),
            "p": found["PR(>F)"].to_numpy(),
        }
    )
    table["p_holm"] = holm(table["p"].to_numpy(float))
    table["partial_eta2"] = table["sum_sq"] / (table["sum_sq"] + error)
    gain = table["sum_sq"] - table["df"] * spread
    table["partial_omega2"] = gain / (table["sum_sq"] + (len(data) - table["df"]) * spread)
    return table, residual_df, float(np.sqrt(spread))
