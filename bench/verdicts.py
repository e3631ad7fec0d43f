"""`make verdicts`: simulate studies with a known truth and write the tables of docs/verdicts.md.

Everything between the two marker lines of the page is replaced; the text around them is written by hand.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from analysis.stats.paired import compare_differences
from analysis.stats.sequential import SequentialPlan, decide, default_looks, trainings_used
from bench.tuned_simulations import tuned_verdicts
from bench.verdict_simulations import (
    NOISES,
    Rate,
    equivalence_claims,
    false_equivalence,
    lost_runs,
    power,
    rates,
)

PAGE = Path(__file__).resolve().parents[1] / "docs" / "verdicts.md"
BEGIN, END = "<!-- tables: begin (written by make verdicts) -->", "<!-- tables: end -->"
SEEDS, ARMS = (3, 5, 10), (1, 3, 6)
MIX, ROPE, MOST = (0.0, 0.0, 0.5, 1.0, 2.0, 4.0), 0.5, 20
PLANS = {
    "default": SequentialPlan(default_looks(MOST), rope=ROPE),
    "every seed from 4, quadratic, futility 0.07": SequentialPlan(tuple(range(4, 21)), futility=0.07, rope=ROPE),
    "4, 6, 9, 13, 20; O'Brien-Fleming, no futility": SequentialPlan(
        (4, 6, 9, 13, 20), "obrien_fleming", futility=0, rope=ROPE
    ),
    "4, 6, 9, 13, 20; O'Brien-Fleming, futility 0.1": SequentialPlan((4, 6, 9, 13, 20), "obrien_fleming", rope=ROPE),
    "4, 6, 9, 13, 20; Pocock, futility 0.1": SequentialPlan((4, 6, 9, 13, 20), "pocock", rope=ROPE),
}


def error_row(name: str, n: int, arms: int, studies: int) -> list[str]:
    found = rates(NOISES[name], n=n, arms=arms, studies=studies)
    kept = str(found.kept_coverage) if found.kept_coverage else "–"
    return [name, str(n), str(arms), str(found.before), str(found.after), str(found.coverage), kept]


def power_row(n: int, effect: float, arms: int, studies: int) -> list[str]:
    found = power(effect, n=n, arms=arms, studies=studies // 2)
    setting = f"{arms} {'arm' if arms == 1 else 'arms'}, {effect:g} sd better, n = {n}"
    return ["power, normal noise", setting, str(found.before), str(found.after)]


def other_row(kind: str, studies: int) -> list[str]:
    if kind == "claim":
        found = equivalence_claims(studies=4 * studies)
        setting = ["true equivalence claim contradicted", "difference 0.8 rope, sd 0.6 rope, n = 8"]
    elif kind in ("arm", "reference"):
        found = lost_runs(kind, studies=2 * studies)
        setting = ["equal arm called better or worse", f"the {kind} loses its worst 4 of 10 runs"]
    elif kind == "tuned":
        found = tuned_verdicts(studies=studies)
        setting = ["equal tuned arms called different", "3 arms, 8 trials, n = 5; before: untuned, after: tuned"]
    else:
        found = false_equivalence(n=20, arms=3, studies=studies)
        setting = ["false equivalence", "3 arms, difference just the rope of 1 sd, n = 20"]
    return [*setting, str(found.before), str(found.after)]


def sequential_row(name: str, effects: Sequence[float], studies: int) -> list[str]:
    """Return error, power and trainings of a plan (or of the fixed design) on arms with these effects."""
    rng = np.random.default_rng(11)
    true = np.asarray(effects, float)
    wrong, found, used = 0, 0, np.zeros(studies)
    for study in range(studies):
        noise = rng.normal(size=(len(true), MOST)) - rng.normal(size=(1, MOST))
        d = true[:, None] + noise / np.sqrt(2)
        if name == "fixed":
            states, used[study] = compare_differences(d, rope=ROPE).verdict.tolist(), (len(true) + 1) * MOST
        else:
            decisions = decide(d, PLANS[name])
            states, used[study] = [one.state for one in decisions], trainings_used(decisions)
        wrong += any(_is_wrong(state, effect) for state, effect in zip(states, true, strict=True))
        found += sum(state == "better" for state, effect in zip(states, true, strict=True) if effect > 0)
    arms = int((true > 0).sum())
    share = used / ((len(true) + 1) * MOST)
    return [
        name,
        ", ".join(f"{effect:g}" for effect in true),
        str(Rate(wrong, studies)),
        str(Rate(found, studies * arms)) if arms else "–",
        f"{share.mean():.3f} ± {share.std() / np.sqrt(studies):.3f}",
    ]


def _is_wrong(state: str, effect: float) -> bool:
    """Return whether a decision is a false claim of a difference, of its direction, or of equivalence."""
    if state in ("better", "worse"):
        return effect == 0 or state == "worse"
    return state == "equivalent" and abs(effect) >= ROPE


def tables(studies: int, workers: int) -> str:
    """Return the page's tables as Markdown."""
    errors = [(name, n, arms, studies) for name in NOISES for n in SEEDS for arms in ARMS]
    powers = [(n, effect, arms, studies) for n, effect in ((3, 6.0), (5, 3.0), (10, 1.5)) for arms in (1, 6)]
    others = [(kind, studies) for kind in ("claim", "arm", "reference", "tuned", "edge")]
    rules = [(name, MIX, studies) for name in ("fixed", *PLANS)]
    rules += [(name, effects, studies) for name in ("fixed", "default") for effects in ((0.0,) * 6, (0, 0, 0, 4, 4, 4))]
    found = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for row, jobs in ((other_row, others), (sequential_row, rules), (error_row, errors), (power_row, powers)):
            lines = []
            for line in pool.map(row, *zip(*jobs, strict=True), chunksize=1):
                print(" | ".join(line), flush=True)
                lines.append(line)
            found.append(lines)
    parts = [
        f"{studies:,} simulated studies a line (claims: four times as many, lost runs: twice, power: half); "
        "± is one Monte-Carlo standard error.",
        "### No true difference: studies that call one, and coverage of the 95 % intervals",
        _markdown(("noise", "n", "arms", "before", "after", "coverage, all", "coverage, no warning"), found[2]),
        "### Claims, lost runs, equivalence, power",
        _markdown(("rate", "setting", "before", "after"), [*found[0], *found[3]]),
        f"### Seeds added by rule: at most {MOST} seeds, rope {ROPE:g} sd",
        _markdown(("rule", "true differences (sd)", "any false decision", "power", "trainings, share"), found[1]),
    ]
    return "\n\n".join(parts)


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Write the tables into the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.verdicts", description=__doc__)
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies for each line")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    written = tables(arguments.studies, arguments.workers)
    PAGE.write_text(f"{before}{BEGIN}\n\n{written}\n\n{END}{after}", encoding="utf-8")
    print(f"written to {PAGE}")


if __name__ == "__main__":
    main()
