"""What `plan` shows: arms and cells, done and missing, the time they take, the smallest difference to be seen."""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Mapping

import numpy as np
from rich.console import Console
from rich.table import Table

from analysis.stats.power import smallest_difference
from search_spaces.config.trial import TrialConfig
from search_spaces.domains import Domain
from search_spaces.plan import Cell, make_plan
from search_spaces.study import StudySpec
from tune_app.cli.plan_notes import plan_notes, planned_sources
from tune_app.data import ImageArrays, source_key
from tune_app.training import keep_freed_memory, resolve_device, set_threads
from tune_app.training.estimate import epoch_seconds
from tune_app.tuning.progress import duration
from tune_app.tuning.resources import concurrency, gpu_share, local_resources
from tune_app.tuning.runner import missing_cells, objective
from tune_app.tuning.store.writer import ResultsStore

MAX_SHOWN = 50
"""Values of a domain that a plan lists one by one."""
TYPICAL_SPREAD = 0.005
"""Standard deviation of a metric over seeds that is assumed where the store has none: half a point."""


def show(spec: StudySpec, results: str, with_time: bool, out: Console) -> None:
    """Print the plan of a study."""
    store = ResultsStore(results, spec.name)
    sources = planned_sources(spec)
    if spec.mode == "search":
        _show_search(spec, sources, with_time, out)
        _show_notes(spec, sources, out)
        return
    plan = make_plan(spec)
    missing = missing_cells(spec, store, sources)
    left = Counter(cell.arm.name for cell in missing)
    seconds = _cell_seconds(spec, missing, store, sources) if with_time and missing else {}
    table = Table()
    for heading in ("arm", "seeds", "done", "to train", *(("time each",) if seconds else ())):
        table.add_column(heading, justify="left" if heading == "arm" else "right")
    for arm in plan.arms:
        todo = left[arm.name]
        mark = " (reference)" if arm.name == plan.reference_arm else ""
        each = [duration(seconds[arm.name]) if arm.name in seconds else ""] if seconds else []
        table.add_row(arm.name + mark, str(len(spec.seeds)), str(len(spec.seeds) - todo), str(todo), *each)
    out.print(table)
    out.print(f"{len(plan.cells)} cells, {len(plan.cells) - len(missing)} done, {len(missing)} to train")
    if seconds:
        _show_time(spec, sum(seconds[cell.arm.name] for cell in missing), out)
    for alias in plan.aliases:
        out.print(f"cannot be told apart: {alias}")
    _show_notes(spec, sources, out)
    _show_power(spec, store, len(plan.arms) - 1, out)


def _show_notes(spec: StudySpec, sources: Mapping[str, ImageArrays], out: Console) -> None:
    for note in plan_notes(spec, sources):
        out.print(f"note: {note}")


def _show_search(spec: StudySpec, sources: Mapping[str, ImageArrays], with_time: bool, out: Console) -> None:
    space = spec.search_space()
    table = Table()
    for heading in ("field", "domain"):
        table.add_column(heading)
    for path, domain in space.domains.items():
        table.add_row(path, f"{domain.kind}: {_values(domain)}")
    out.print(table)
    size = f"{space.size:,} configs" if space.size else "infinitely many configs"
    asha = spec.search.asha
    stop = f"ASHA from epoch {asha.grace_period}, 1 in {asha.reduction_factor} goes on" if asha else "no early stopping"
    out.print(f"{spec.search.trials} trials by {spec.search.searcher} out of {size}; {stop}")
    if with_time:
        each = measured_seconds(spec, spec.baseline, sources)
        out.print("if every trial trained as long as the baseline and none were stopped:")
        _show_time(spec, each * spec.search.trials, out)


def _values(domain: Domain) -> str:
    """Return the values of a domain, all of a short list, or its smallest and largest."""
    if domain.size is not None and domain.size <= MAX_SHOWN:
        return ", ".join(map(str, domain.grid()))
    first, last = domain.edges()[0], domain.edges()[-1]
    return f"{first:g} to {last:g}" if domain.size is None else f"{first} to {last} ({domain.size:,} values)"


def _show_time(spec: StudySpec, seconds: float, out: Console) -> None:
    here = local_resources()
    side_by_side = concurrency(spec.resources.cpu, gpu_share(spec.resources, here, autoscaling=True), here)
    out.print(
        f"about {duration(seconds / side_by_side)} on this machine, {side_by_side} trials side by side "
        f"({seconds / 3600:.3g} trial-hours)",
    )


def _cell_seconds(
    spec: StudySpec, missing: list[Cell], store: ResultsStore, sources: Mapping[str, ImageArrays]
) -> dict[str, float]:
    """Return the seconds that a cell of each arm takes: from the store where it has the arm, else measured."""
    stored: dict[str, list[float]] = {}
    for trial in store.trials():
        if trial.status == "completed" and trial.seconds:
            stored.setdefault(trial.arm, []).append(trial.seconds)
    by_shape: dict[object, float] = {}
    found: dict[str, float] = {}
    for cell in missing:
        name, shape = cell.arm.name, _shape(cell.config)
        if name in found:
            continue
        if name in stored:
            found[name] = statistics.median(stored[name])
            continue
        if shape not in by_shape:
            by_shape[shape] = measured_seconds(spec, cell.config, sources) / cell.config.epochs
        found[name] = by_shape[shape] * cell.config.epochs
    return found


def measured_seconds(spec: StudySpec, config: TrialConfig, sources: Mapping[str, ImageArrays]) -> float:
    """Return the seconds of a training, from a few steps on as many threads as a trial is given."""
    share = gpu_share(spec.resources, local_resources(), autoscaling=True)
    set_threads(max(1, int(min(spec.resources.cpu, os.cpu_count() or 1))))
    keep_freed_memory()
    device = resolve_device("auto" if share else "cpu")
    return epoch_seconds(config, sources[source_key(config.data)], device) * config.epochs


def _shape(config: TrialConfig) -> object:
    """Return what the time of an epoch depends on."""
    canonical = config.canonical()
    parts = ("data", "model", "augmentation", "batch_size", "precision")
    return repr([canonical[part] for part in parts] + [config.optimizer.name])


def _show_power(spec: StudySpec, store: ResultsStore, comparisons: int, out: Console) -> None:
    if len(spec.seeds) < 2:
        out.print("with 1 seed no difference can be told from chance; give `seeds: 5` or more")
        return
    values: dict[str, dict[int, float]] = {}
    for trial in store.trials():
        value = trial.metrics[spec.metric]
        if trial.status == "completed" and value is not None:
            values.setdefault(trial.arm, {})[trial.seed] = value
    reference = values.get(make_plan(spec).reference_arm, {})
    spreads = [
        float(np.std([arm[seed] - reference[seed] for seed in arm if seed in reference], ddof=1))
        for arm in values.values()
        if arm is not reference and len(arm.keys() & reference.keys()) >= 2
    ]
    spread = statistics.median(spreads) if spreads else TYPICAL_SPREAD * 2**0.5
    origin = "observed" if spreads else "assumed"
    smallest = smallest_difference(len(spec.seeds), spread, comparisons=comparisons)
    out.print(
        f"smallest difference in {spec.metric} that {len(spec.seeds)} paired seeds detect (80 % power, 5 % error over "
        f"{comparisons} comparisons): {smallest:.4f} with the {origin} spread of differences, {spread:.4f}; "
        f"choices are made by {objective(spec)[0]}",
    )
