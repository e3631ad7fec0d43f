"""`make verdicts`: simulate studies with a known truth and write the tables of docs/verdicts.md.

Everything between the two marker lines of the page is replaced; the text around them is written by hand. Each
finished line is kept in .cache/verdicts.json, with a hash of the code that it depends on, so a run that was interrupted
(or ended by --minutes) is continued by the next one, and a line is simulated again only where its code or the number of
studies changed. A further table is one more `Section`.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import verdict_findings as findings  # noqa: E402
from bench import verdict_simulations as simulations  # noqa: E402
from bench.tuned_simulations import tuned_verdicts  # noqa: E402
from bench.verdict_simulations import NOISES, Change  # noqa: E402

PAGE, CACHE = ROOT / "docs" / "verdicts.md", ROOT / ".cache" / "verdicts.json"
BEGIN, END = "<!-- tables: begin (written by make verdicts) -->", "<!-- tables: end -->"
SEEDS, ARMS = (3, 5, 10), (1, 2, 3, 6)


def imported(modules: Iterable[str]) -> tuple[Path, ...]:
    """Return the files of these modules and of all that they import, directly or not, of what decides rates."""
    found: dict[str, Path] = {}
    left = list(modules)
    while left:
        name = left.pop()
        if name not in found:
            found[name] = ROOT / f"{name.replace('.', '/')}.py"
            nodes = ast.walk(ast.parse(found[name].read_text(encoding="utf-8")))
            names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
            left += [name for name in names if name.startswith(("bench.", "analysis.stats.", "search_spaces.tune"))]
    return tuple(sorted(found.values()))


CODE = imported(("bench.verdict_simulations", "bench.verdict_findings", "bench.tuned_simulations"))
"""The files that lines depend on, one set for all of them."""


@dataclass(frozen=True)
class Line:
    """One line of a table: its first columns, and the function that simulates the others with ``studies`` studies."""

    labels: tuple[str, ...]
    simulate: Callable[..., Sequence[str]]

    def key(self, title: str, studies: int) -> str:
        """Return what identifies the line, the code that it depends on included."""
        code = hashlib.sha256(b"".join(file.read_bytes() for file in CODE)).hexdigest()[:16]
        return " | ".join([title, *self.labels, str(studies), code])


@dataclass(frozen=True)
class Section:
    """A table of the page."""

    title: str
    heads: tuple[str, ...]
    lines: tuple[Line, ...]


def errors(name: str, n: int, arms: int, *, studies: int) -> list[str]:
    """Return error before and after, the least possible one where runs collapse, and coverage."""
    found = simulations.rates(NOISES[name], n=n, arms=arms, studies=studies)
    least = "–"
    if "collapsing" in name:
        only = 1 if name.startswith("one") else None
        least = f"{simulations.least_collapse_error(n=n, arms=arms, studies=10 * studies, collapsing_arms=only):.3f}"
    kept = str(found.kept_coverage) if found.kept_coverage else "–"
    return [str(found.before), str(found.after), least, str(found.coverage), kept]


def change(simulate: Callable[..., Change], *, studies: int) -> list[str]:
    """Return the two rates of a simulation."""
    found = simulate(studies=studies)
    return [str(found.before), str(found.after)]


def _error_lines() -> Iterable[Line]:
    for name in NOISES:
        for n in SEEDS:
            for arms in ARMS:
                if arms > 1 or not name.startswith("one"):
                    yield Line((name, str(n), str(arms)), partial(errors, name, n, arms))


def _change_line(finding: str, setting: str, simulate: Callable[..., Change]) -> Line:
    return Line((finding, setting), partial(change, simulate))


def _verdict_lines() -> Iterable[Line]:
    claim = "true equivalence claim contradicted"
    yield _change_line(claim, "difference 0.8 rope, sd 0.6 rope, n = 8", simulations.equivalence_claims)
    for side in ("arm", "reference"):
        setting = f"the {side} loses its worst 4 of 10 runs"
        lost = partial(simulations.lost_runs, side)
        yield _change_line("equal arm called better or worse", setting, lost)
    for name in ("normal", "lognormal", "collapsing (15 % of runs)"):
        setting = f"{name} noise, 3 arms, difference just the rope of 1 sd, n = 20"
        same = partial(simulations.false_equivalence, n=20, arms=3, noise=NOISES[name])
        yield _change_line("false equivalence", setting, same)
    setting = "3 arms, 8 trials, n = 5; before: untuned, after: tuned"
    yield _change_line("equal tuned arms called different", setting, tuned_verdicts)
    for n, effect in ((3, 6.0), (5, 3.0), (10, 1.5)):
        for arms in (1, 6):
            setting = f"{arms} {'arm' if arms == 1 else 'arms'}, {effect:g} sd better, n = {n}"
            found = partial(simulations.power, effect, n=n, arms=arms)
            yield _change_line("power, normal noise", setting, found)
    for name, effect in (("lognormal", 2.0), ("collapsing (15 % of runs)", 6.0)):
        found = partial(simulations.power, effect, n=10, arms=6, noise=NOISES[name])
        yield _change_line(f"power, {name}", f"6 arms, {effect:g} sd better, n = 10", found)


def _finding_lines() -> Iterable[Line]:
    for looks in ((3, 5), (3, 5, 8, 12)):
        setting = f"seeds added after a look at {', '.join(map(str, looks))}: t test at each look; by the rule"
        added = partial(findings.added_seeds, looks)
        yield _change_line("equal arm called better or worse", setting, added)
    for correlation in (0.0, 0.17, 0.5, 0.8):
        setting = f"difference 2 sd, n = 5, correlation {correlation:g}: Welch's test; paired test"
        yield _change_line("power", setting, partial(findings.pairing, correlation))
    yield _change_line(
        "coverage of 95 % intervals",
        "half of the variance is due to the split: one split; a split for each seed, n = 5",
        findings.split_of_the_data,
    )
    yield _change_line("all intervals of a table hold the truth", "6 arms, n = 5: single; max-t", findings.whole_table)
    for n in (3, 5):
        coverage = partial(findings.bootstrap_coverage, n=n)
        yield _change_line("coverage of 95 % intervals", f"n = {n}: BCa; t", coverage)
    yield _change_line(
        "smallest difference that seeds can detect is right",
        "n = 3: the figure, within 20 %; its interval",
        findings.smallest_difference_coverage,
    )


def _sequential_lines() -> Iterable[Line]:
    rules: list[tuple[str, Sequence[float]]] = [(name, findings.MIX) for name in ("fixed", *findings.PLANS)]
    rules += [(name, effects) for name in ("fixed", "default") for effects in ((0.0,) * 6, (0, 0, 0, 4, 4, 4))]
    for name, effects in rules:
        labels = name, ", ".join(f"{effect:g}" for effect in effects)
        yield Line(labels, partial(findings.sequential_line, name, effects))


SECTIONS = (
    Section(
        "No true difference: studies that call one, and coverage of the 95 % intervals",
        ("noise", "n", "arms", "before", "after", "least possible", "coverage, all", "coverage, no warning"),
        tuple(_error_lines()),
    ),
    Section("Claims, lost runs, equivalence, power", ("rate", "setting", "before", "after"), tuple(_verdict_lines())),
    Section(
        "Looks, pairing, intervals", ("rate", "setting: before; after", "before", "after"), tuple(_finding_lines())
    ),
    Section(
        f"Seeds added by rule: at most {findings.MOST} seeds, rope {findings.ROPE:g} sd",
        ("rule", "true differences (sd)", "any false decision", "power", "trainings, share"),
        tuple(_sequential_lines()),
    ),
)


def simulate_missing(studies: int, workers: int, minutes: float) -> dict[str, list[str]]:
    """Return the simulated columns of all lines by key, and keep them; starts no further line after ``minutes``."""
    known: dict[str, list[str]] = json.loads(CACHE.read_text(encoding="utf-8")) if CACHE.exists() else {}
    jobs = {line.key(section.title, studies): line for section in SECTIONS for line in section.lines}
    missing = [key for key in jobs if key not in known]
    start = time.monotonic()
    running: dict[Future[Sequence[str]], tuple[str, float]] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        while missing or running:
            while missing and len(running) < workers and time.monotonic() - start < 60 * minutes:
                key = missing.pop(0)
                running[pool.submit(jobs[key].simulate, studies=studies)] = key, time.monotonic()
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                key, begun = running.pop(future)
                known[key] = list(future.result())
                CACHE.parent.mkdir(exist_ok=True)
                CACHE.write_text(json.dumps(known, indent=0, ensure_ascii=False), encoding="utf-8")
                print(f"{time.monotonic() - begun:5.1f} s  {key}  {' | '.join(known[key])}", flush=True)
    return {key: known[key] for key in jobs if key in known}


def tables(studies: int, known: dict[str, list[str]]) -> str:
    """Return the page's tables as Markdown."""
    parts = [f"{studies:,} simulated studies a line; ± is one Monte-Carlo standard error."]
    for section in SECTIONS:
        rows = [[*line.labels, *known[line.key(section.title, studies)]] for line in section.lines]
        table = [section.heads, ["---"] * len(section.heads), *rows]
        parts += [f"### {section.title}", "\n".join(f"| {' | '.join(row)} |" for row in table)]
    return "\n\n".join(parts)


def main() -> None:
    """Simulate what is missing and, once all lines are there, write the tables into the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.verdicts", description=__doc__)
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies for each line")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no further line after this time")
    arguments = parser.parse_args()
    known = simulate_missing(arguments.studies, arguments.workers, arguments.minutes)
    lines = sum(len(section.lines) for section in SECTIONS)
    if len(known) < lines:
        print(f"{len(known)} of {lines} lines are done; the same command goes on with the others")
        return
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables(arguments.studies, known)}\n\n{END}{after}", encoding="utf-8")
    print(f"written to {PAGE}")


if __name__ == "__main__":
    main()
