"""Seeds added by a rule that keeps the error rate: which arms of a study are decided at which look.

After each look (a number of seeds that all arms still in the study have completed) arms that are decided or futile
stop; the others get the seeds of the next look. The rule is a pure function of the results so far, so a run that was
interrupted, extended or moved to another machine reaches the same decisions. `analysis.stats.course` applies it to a
study, for the run, the report and the service.

Error. For each arm the paired t test of a look rejects where its p is below the nominal level that a spending function
gives on the t scale (`analysis.stats.spending.t_levels`). Over the arms it is
Holm's method in its group-sequential form (Maurer and Bretz 2013; Ye et al. 2013): with r of m arms rejected, the
boundaries of the others are those of alpha / (m - r). The equivalence tests spend an alpha of their own in the same
way. The boundaries do not count on futility stops (they are non-binding), so going on with a futile arm is allowed.

Futility. An arm stops where the predictive probability (Spiegelhalter et al. 1986, flat prior) that it is decided
either way with all seeds is below a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from analysis.stats.distributions import normal_isf, t_sf
from analysis.stats.paired import ALPHA, Floats, equal_signs_p
from analysis.stats.spending import boundaries, median_unbiased, t_levels
from search_spaces.errors import StudyError

State = Literal["better", "worse", "equivalent", "futile", "undecided", "continue"]
FUTILITY = 0.1
FIRST_LOOK = 4


@dataclass(frozen=True)
class SequentialPlan:
    """When to look, and by which rule to stop.

    ``looks``: numbers of seeds, increasing, at least 2; the last is the most that an arm gets. ``spending``: name of a
    spending function. ``futility``: the predictive probability below which an arm stops; 0: never. ``rope``: region of
    practical equivalence; None: equivalence is not tested. ``alpha``: family-wise error over arms and looks.
    """

    looks: tuple[int, ...]
    spending: str = "quadratic"
    futility: float = FUTILITY
    rope: float | None = None
    alpha: float = ALPHA

    def __post_init__(self) -> None:
        """Refuse looks that do not increase and a futility that is no probability."""
        if not self.looks or self.looks[0] < 2 or any(np.diff(self.looks) <= 0):
            raise StudyError(f"`sequential.looks` is {list(self.looks)}, but must be increasing numbers of 2 or more")
        if not 0 <= self.futility < 1:
            raise StudyError(f"`sequential.futility` is {self.futility:g}, but must be at least 0 and below 1")

    @property
    def fractions(self) -> tuple[float, ...]:
        """Share of the seeds at each look."""
        return tuple(look / self.looks[-1] for look in self.looks)


def default_looks(most: int) -> tuple[int, ...]:
    """Return the looks of a plain ``sequential: true``: each seed from 4 to half of ``most``, then every second one.

    Many looks cost little power with the quadratic spending function, and stop sooner. Below 5 seeds there is one look.
    """
    if most <= FIRST_LOOK:
        return (most,)
    return tuple(sorted({*range(FIRST_LOOK, most // 2 + 1), *range(most, max(most // 2, FIRST_LOOK - 1), -2)}))


@dataclass(frozen=True)
class ArmDecision:
    """What the rule says about one arm.

    ``state``: decided ("better", "worse", "equivalent"), stopped without a decision ("futile"; "undecided" after the
    last look) or "continue". ``seeds``: seeds used for it. ``estimate``: the mean difference, which is too far from 0
    on average where an arm stopped early (`corrected_estimate`). ``path``: for each look so far (seeds, t, critical t):
    the picture of an arm against its boundary.
    """

    state: State
    seeds: int
    estimate: float
    path: tuple[tuple[int, float, float], ...]


def decide(differences: Floats, plan: SequentialPlan, *, higher_is_better: bool = True) -> list[ArmDecision]:
    """Return the decision on each arm from the paired differences so far, by replaying the looks.

    ``differences``: (arms, seeds in the order in which they were planned), arm minus reference, NaN where a run is
    missing. A look counts as reached where the array has that many columns; an arm that stopped is not looked at again,
    whatever results it has beyond.
    """
    d = np.asarray(differences, float)
    gains = d if higher_is_better else -d
    states: list[State] = ["continue"] * len(d)
    paths: list[list[tuple[int, float, float]]] = [[] for _ in d]
    for number, look in enumerate(plan.looks):
        if look > d.shape[1]:
            break
        _look(gains[:, :look], number, plan, states, paths)
    return [_decision(row, state, path, plan) for row, state, path in zip(d, states, paths, strict=True)]


def certain_to_continue(
    differences: Floats,
    plan: SequentialPlan,
    decisions: Sequence[ArmDecision],
    number: int,
    complete: Sequence[bool],
    *,
    higher_is_better: bool = True,
) -> list[bool]:
    """Return which arms go on after look ``number`` (from 0), whatever the arms give that are not ``complete`` there.

    ``decisions``: those of the looks before. An arm goes on where it does so whether none of the incomplete arms is
    decided, or all differ, or all are equivalent. Only futility could depend on a number between; a wrong answer costs
    trainings and changes no decision.
    """
    d = np.array(differences, float)[:, : plan.looks[number]]
    d[~np.asarray(complete, bool)] = np.nan
    going_on = np.array([one.state == "continue" for one in decisions]) & np.asarray(complete, bool)
    others: tuple[State, ...] = ("continue", "better", "equivalent")
    for other in others:
        states = [
            other if one.state == "continue" and not done else one.state
            for one, done in zip(decisions, complete, strict=True)
        ]
        _look(d if higher_is_better else -d, number, plan, states, [[] for _ in states])
        going_on &= [state == "continue" for state in states]
    return [bool(one) for one in going_on]


def _decision(d: Floats, state: State, path: list[tuple[int, float, float]], plan: SequentialPlan) -> ArmDecision:
    used = path[-1][0] if path else min(plan.looks[0], len(d))
    seen = d[:used][np.isfinite(d[:used])]
    return ArmDecision(state, used, float(seen.mean()) if len(seen) else float("nan"), tuple(path))


def _look(
    gains: Floats, number: int, plan: SequentialPlan, states: list[State], paths: list[list[tuple[int, float, float]]]
) -> None:
    """Update the states by one look: Holm over differences, Holm over equivalence, then futility."""
    n = np.isfinite(gains).sum(axis=1)
    mean, se, freedom = _moments(gains, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = mean / se
        p = 2 * special.stdtr(freedom, -np.abs(t))
        inside = special.stdtr(freedom, (np.abs(mean) - (plan.rope or 0)) / se)
    flat = (n > 1) & np.isnan(se)  # equal differences: the exact tests of `analysis.stats.paired`
    p = np.where(flat, equal_signs_p(mean, n), p)
    inside = 2 * np.where(flat, np.where(np.abs(mean) < (plan.rope or 0), 0.5**n, 1.0), inside)  # as a two-sided p
    active = [arm for arm, state in enumerate(states) if state == "continue"]
    _reject(p, active, states, ("better", "worse"), mean, number, plan)
    if plan.rope:
        # One-sided at alpha each, as in the test with a fixed number of seeds: two-sided boundaries of 2 alpha.
        _reject(inside, active, states, ("equivalent", "equivalent"), mean, number, plan, factor=2)
    for arm in active:
        level = _levels(plan, states, ("better", "worse"))[number]
        paths[arm].append((plan.looks[number], float(t[arm]), _critical_t(level, int(freedom[arm]))))
        if states[arm] != "continue":
            continue
        if number == len(plan.looks) - 1:
            states[arm] = "undecided"
        elif plan.futility and predictive_probability(mean[arm], se[arm], int(n[arm]), plan, states) < plan.futility:
            states[arm] = "futile"


def _critical_t(level: float, freedom: int) -> float:
    """Return the critical |t| of a two-sided test; infinite at level 0."""
    return float(-special.stdtrit(freedom, level / 2)) if level > 0 else float("inf")


def _moments(gains: Floats, n: np.ndarray) -> tuple[Floats, Floats, np.ndarray]:
    """Return mean, standard error and degrees of freedom of each row; NaN below 2 values or without spread."""
    total = np.nansum(gains, axis=1)
    mean = np.where(n > 0, total / np.maximum(n, 1), np.nan)
    squares = np.nansum((gains - mean[:, None]) ** 2, axis=1)
    se = np.where((n > 1) & (squares > 1e-24), np.sqrt(squares / np.maximum(n - 1, 1) / np.maximum(n, 1)), np.nan)
    return mean, se, np.maximum(n - 1, 1)


def _levels(
    plan: SequentialPlan, states: Sequence[State], decided: tuple[State, State], factor: int = 1
) -> tuple[float, ...]:
    """Return the nominal levels of all looks for an arm that is still in the family, by Holm."""
    left = len(states) - sum(state in decided for state in states)
    return t_levels(plan.looks, factor * plan.alpha / max(left, 1), plan.spending)


def _reject(
    p: Floats,
    active: Sequence[int],
    states: list[State],
    decided: tuple[State, State],
    mean: Floats,
    number: int,
    plan: SequentialPlan,
    factor: int = 1,
) -> None:
    """Set the state of each arm that is rejected at this look; each rejection widens the boundary of the others.

    An arm shown to differ stays open to the equivalence test of the same look: a difference can be real and too small
    to matter, and "equivalent" then stands, as in a study with a fixed number of seeds.
    """
    open_arms = [arm for arm in active if np.isfinite(p[arm]) and states[arm] not in decided]
    for arm in sorted(open_arms, key=lambda one: float(p[one])):
        if p[arm] > _levels(plan, states, decided, factor)[number]:
            break
        states[arm] = decided[0] if mean[arm] > 0 else decided[1]


def predictive_probability(
    mean: float, se: float, n: int, plan: SequentialPlan, states: Sequence[State] = ("continue",)
) -> float:
    """Return the probability that an arm is decided at the last look, given its results so far and a flat prior.

    With N seeds at the last look, the mean then is predicted as t-distributed about the mean now, with variance
    s^2 (1/n - 1/N) and n - 1 degrees of freedom. The arm is decided where that mean is beyond its critical value or
    inside the rope by the equivalence test's. NaN where there is no spread yet counts as 1.
    """
    most = plan.looks[-1]
    if not np.isfinite(se) or n >= most:
        return 1.0
    sd = se * np.sqrt(n)
    spread = sd * np.sqrt(1 / n - 1 / most)

    def below(edge: float) -> float:
        return float(special.stdtr(n - 1, (edge - mean) / spread))

    level = _levels(plan, states, ("better", "worse"))[-1]
    edge = _critical_t(level, most - 1) * sd / np.sqrt(most)
    chance = below(-edge) + 1 - below(edge)
    if plan.rope:
        level = _levels(plan, states, ("equivalent", "equivalent"), factor=2)[-1]
        within = min(plan.rope - _critical_t(level, most - 1) * sd / np.sqrt(most), edge)
        chance += max(0.0, below(within) - below(-within)) if within > 0 else 0.0
    return chance


def corrected_estimate(differences: Floats, decision: ArmDecision, plan: SequentialPlan, arms: int) -> float:
    """Return the median-unbiased mean difference of an arm of ``arms``, whose ``differences`` are by seed.

    NaN where the arm did not stop as better or worse, or has no spread: its plain estimate is then to be marked as not
    corrected. The t is carried over to the normal scale by its p; the earlier boundaries are taken as those of alpha /
    arms, and futility stops are not counted on. The correction is for one arm; it knows nothing of the choice among
    arms.
    """
    seen = np.asarray(differences, float)[: decision.seeds]
    seen = seen[np.isfinite(seen)]
    if decision.state not in ("better", "worse") or len(seen) < 2 or np.ptp(seen) <= 1e-12:
        return float("nan")
    size = abs(seen.mean()) / (seen.std(ddof=1) / np.sqrt(len(seen)))
    z = float(np.sign(seen.mean()) * normal_isf(max(t_sf(size, len(seen) - 1), 1e-30)))
    looks = len(decision.path)
    earlier = boundaries(plan.fractions, plan.alpha / arms, plan.spending)[: looks - 1]
    drift = median_unbiased(plan.fractions[:looks], earlier, z)
    return float(seen.mean() * drift * np.sqrt(plan.fractions[looks - 1]) / z)


def trainings_used(decisions: Sequence[ArmDecision]) -> int:
    """Return the trainings of a study that followed the decisions; the reference goes on while any arm needs it."""
    seeds = [decision.seeds for decision in decisions]
    return sum(seeds) + max(seeds, default=0)
