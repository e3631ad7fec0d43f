"""What `plan` shows: arms and cells, done and missing, the time they take, the smallest difference to be seen."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from analysis.store.identity import Row, identify
from search_spaces.budget import Usage, cost_lines, total
from search_spaces.config import config_from
from search_spaces.domains import Domain
from search_spaces.plan import Cell, Plan, make_plan
from search_spaces.study import StudySpec
from search_spaces.tune import Tune
from tune_app.cli.detectable import find_spread, show_detectable
from tune_app.cli.planning_looks import show_looks
from tune_app.tasks import Task, task_of
from tune_app.tuning.calibration import RAY, Speeds, shape_key
from tune_app.tuning.code_versions import accepted_code
from tune_app.tuning.preparation import outdated, outdated_search, stored_results
from tune_app.tuning.progress import duration
from tune_app.tuning.resources import concurrency, gpu_share, local_resources
from tune_app.tuning.rounds import cells_needed, counts_by_arm, known_plan
from tune_app.tuning.run_clock import shape_of
from tune_app.tuning.store.writer import ResultsStore
from tune_app.user_code import code_source

MAX_SHOWN = 50
"""Values of a domain that a plan lists one by one."""


def show(spec: StudySpec, results: str, with_time: bool, out: Console) -> None:
    """Print the plan of a study."""
    store = ResultsStore(results, spec.name)
    store.keep_trials()
    spec = accepted_code(spec, store)
    task = task_of(spec)
    shared = task.plan_shared(spec, code_source(spec))
    if spec.mode == "search":
        _show_search(spec, store, task, shared, with_time, out)
        for reason in outdated_search(spec, store):
            out.print(reason)
        _show_notes(spec, task, shared, out)
        return
    plan = make_plan(spec)
    stored = stored_results(plan, store, lambda config: task.fingerprint(config, shared))
    missing, counts = cells_needed(spec, plan, stored), counts_by_arm(spec, plan, stored)
    speeds = Speeds.read()
    seconds = _cell_seconds(spec, plan, missing, store, task, shared, speeds) if with_time and missing else {}
    table = Table()
    for heading in ("arm", "cells" if spec.tune else "seeds", "done", "to train", *(("time each",) if seconds else ())):
        table.add_column(heading, justify="left" if heading == "arm" else "right")
    for arm in plan.arms:
        planned, done = counts[arm.name]
        mark = " (reference)" if arm.name == plan.reference_arm else ""
        each = [duration(seconds[arm.name]) if arm.name in seconds else ""] if seconds else []
        table.add_row(arm.name + mark, str(planned), str(done), str(planned - done), *each)
    out.print(table)
    left = {arm: planned - done for arm, (planned, done) in counts.items() if planned > done}
    total, done = (sum(numbers) for numbers in zip(*counts.values(), strict=True))
    out.print(f"{total} cells, {done} done, {total - done} to train" + (" at most" if spec.sequential else ""))
    if spec.tune is not None:
        _show_tune(spec.tune, spec, out)
    for reason in outdated(spec, store, missing):
        out.print(reason)
    if left and all(arm in seconds for arm in left):
        _show_time(spec, store, [seconds[arm] for arm, cells in left.items() for _ in range(cells)], speeds, out)
    for alias in plan.aliases:
        out.print(f"cannot be distinguished: {alias}")
    if missing:  # notes about networks take torch, and a study that is complete has been run with them
        _show_notes(spec, task, shared, out)
    spread = find_spread(spec, store, results, known_plan(spec, plan, stored))
    if spec.sequential is not None and len(spec.seeds) > 1:
        show_looks(spec, len(plan.arms) - 1, spread, out)
    show_detectable(spec, spread, plan, out)


def _show_tune(tune: Tune, spec: StudySpec, out: Console) -> None:
    fields = [f"{path} ({domain.kind}: {_values(domain)})" for path, domain in tune.space.items()]
    out.print(
        f"each arm and repeat: {tune.trials} trials of {spec.baseline.epochs} epochs over {', '.join(fields)}, the "
        "first with the arm's own values, then the best again with a fresh seed"
    )
    for arm, domains in tune.extra.items():
        own = [f"{path} ({domain.kind}: {_values(domain)})" for path, domain in domains.items()]
        out.print(f"{arm} also tunes {', '.join(own)}")


def _show_notes(spec: StudySpec, task: Task, shared: Mapping[str, Any], out: Console) -> None:
    for note in (*task.notes(spec, shared), *task.plan_notes(spec, shared)):
        out.print(f"note: {note}")


def _show_search(
    spec: StudySpec, store: ResultsStore, task: Task, shared: Mapping[str, Any], with_time: bool, out: Console
) -> None:
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
    trials = spec.planned_trials()
    done = min(trials, _searched(spec, store, task, shared))
    out.print(f"{trials} trials by {spec.search.searcher} out of {size}, {done} done; {stop}")
    out.print(f"each trial is trained with seed {spec.seeds[0]}")
    if spec.search.searcher == "grid" and space.size and spec.search.trials < space.size:
        left = space.size - spec.search.trials
        out.print(f"note: {left} configs of the grid are not tried: raise `search.trials` to {space.size}")
    if not with_time or trials == done:
        return
    speeds = Speeds.read()
    each = speeds.epoch_seconds(_shape_key(spec, task, shared, spec.baseline))
    if each is not None:
        out.print("if trials take as long as those of this search did before on this machine:")
        _show_time(spec, store, [each * spec.baseline.epochs] * (trials - done), speeds, out)
    elif (seconds := _measured(spec, task, shared, spec.baseline)) is not None:
        out.print("if every trial trained as long as the baseline and none were stopped:")
        _show_time(spec, store, [seconds] * (trials - done), speeds, out)


def _searched(spec: StudySpec, store: ResultsStore, task: Task, shared: Mapping[str, Any]) -> int:
    """Return how many stored trials a run of the search would know as its own."""
    ended = [trial for trial in store.trials() if trial.status != "failed"]
    known, _ = identify(spec, [Row(trial.digest, trial.config) for trial in ended])
    space = spec.search_space()  # its configs say where the images are now, stored ones where they were
    present = {digest: task.fingerprint(space.config(one.levels), shared) for digest, one in known.items()}
    return sum(trial.fingerprint == present.get(trial.digest) for trial in ended)


def _values(domain: Domain) -> str:
    """Return the values of a domain, all of a short list, or its smallest and largest."""
    if domain.size is not None and domain.size <= MAX_SHOWN:
        return ", ".join(map(str, domain.grid()))
    first, last = domain.edges()[0], domain.edges()[-1]
    return f"{first:g} to {last:g}" if domain.size is None else f"{first} to {last} ({domain.size:,} values)"


def _show_time(spec: StudySpec, store: ResultsStore, trials: list[float], speeds: Speeds, out: Console) -> None:
    """Print the time of a run of trials that train this many seconds, and what it costs."""
    here = local_resources()
    share = gpu_share(spec.resources, here, autoscaling=True)
    side_by_side = concurrency(spec.resources.cpu, share, here)
    out.print(
        f"about {duration(speeds.run_seconds(RAY, trials, side_by_side))} on this machine, of which "
        f"{duration(speeds.startup(RAY))} start-up, {side_by_side} trials side by side "
        f"({sum(trials) / 3600:.3g} trial-hours)",
    )
    expected = Usage.of(sum(trials), share, spec.resources.cpu)
    used = total(Usage.of(trial.seconds, trial.gpus, trial.cpus) for trial in store.trials())
    for line in cost_lines(spec.budget, expected, used):
        out.print(line, soft_wrap=True)


def _cell_seconds(
    spec: StudySpec,
    plan: Plan,
    missing: list[Cell],
    store: ResultsStore,
    task: Task,
    shared: Mapping[str, Any],
    speeds: Speeds,
) -> dict[str, float]:
    """Return the seconds that a cell of each arm takes: as stored, as measured on this machine, or from a few steps.

    An arm whose time is not known, as of a user's own training that has never run, is left out.
    """
    stored: dict[str, list[float]] = {}
    for trial in store.trials():
        if trial.status == "completed" and trial.seconds:
            config = config_from(trial.config, stored=True)
            shape = shape_of(spec, task, config, trial.fingerprint)
            stored.setdefault(shape, []).append(trial.seconds / config.epochs)
    each = {shape: statistics.median(seconds) for shape, seconds in stored.items()}
    found: dict[str, float] = {}
    names = plan.arm_names()
    for cell in missing:
        arm = names[cell.digest]
        if arm in found:
            continue
        shape = shape_of(spec, task, cell.config, task.fingerprint(cell.config, shared))
        if shape not in each:
            measured = _epoch_seconds(spec, task, shared, cell.config, speeds)
            if measured is None:
                continue
            each[shape] = measured
        found[arm] = each[shape] * cell.config.epochs
    return found


def _epoch_seconds(spec: StudySpec, task: Task, shared: Mapping[str, Any], config: Any, speeds: Speeds) -> float | None:
    """Return the seconds of an epoch as this machine measured them in a run before, else from a few steps."""
    found = speeds.epoch_seconds(_shape_key(spec, task, shared, config))
    if found is None and (seconds := _measured(spec, task, shared, config)) is not None:
        return seconds / int(config.epochs)
    return found


def _shape_key(spec: StudySpec, task: Task, shared: Mapping[str, Any], config: Any) -> str:
    share = gpu_share(spec.resources, local_resources(), autoscaling=True)
    shape = shape_of(spec, task, config, task.fingerprint(config, shared))
    return shape_key(shape, spec.resources.cpu, share)


def _measured(spec: StudySpec, task: Task, shared: Mapping[str, Any], config: Any) -> float | None:
    share = gpu_share(spec.resources, local_resources(), autoscaling=True)
    return task.estimate(config, shared, spec.resources.cpu, share)
