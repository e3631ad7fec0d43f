"""What the API says about a study: state, progress, cost, cells and failures, from its index."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from search_spaces.plan import Plan
from tune_app.tuning.store.live import is_current
from tune_app.web.index import StudyIndex
from tune_app.web.metrics import info, infos, record
from tune_app.web.models import (
    Cost,
    GridCell,
    MetricInfo,
    Run,
    StudyDetail,
    StudyState,
    StudySummary,
    TrialFailure,
)
from tune_app.web.tables import Row

MAX_CELLS = 5000
MAX_FAILURES = 50
_OWN_PACKAGES = re.compile(r'^\s*File "([^"]+)", line (\d+)', re.MULTILINE)
_LIBRARIES = ("/site-packages/", "/dist-packages/", "/lib/python3", "/tune_app/", "<frozen ")


def summary(study: StudyIndex, run: Run | None) -> StudySummary:
    """Return a study as the list shows it."""
    return StudySummary(**_common(study, run))


def detail(study: StudyIndex, run: Run | None) -> StudyDetail:
    """Return a study with its cells, failures and metrics."""
    cells = _cells(study)
    names = dict.fromkeys(name for row in study.trials.values() for name in row["metrics"])
    metric = metric_of(study)
    return StudyDetail(
        **_common(study, run),
        metric_info=metric,
        metrics=infos(dict.fromkeys([metric.name, *_curve_metrics(study), *names]), study.spec),
        arms=list(dict.fromkeys(cell.arm for cell in cells)),
        seeds=sorted({cell.seed for cell in cells}),
        cells=cells[:MAX_CELLS],
        failures=failures(study),
        problems=_problems(study),
        live_at=float(study.live["updated_at"]) if study.live else None,
    )


def metric_of(study: StudyIndex) -> MetricInfo:
    """Return the metric that the study's verdicts are about."""
    name = str(study.spec.metric if study.spec else study.tree.get("metric") or "")
    return info(record(name, study.spec))


def _curve_metrics(study: StudyIndex) -> list[str]:
    for rows in study.epochs().values():
        return list(rows.values)
    for trial in running(study):
        return list(trial["points"])
    return []


def _common(study: StudyIndex, run: Run | None) -> dict[str, Any]:
    counts = Counter(row["status"] for row in study.trials.values() if row["planned"])
    total, missing = planned(study), missing_cells(study)
    finished = [row["finished_at"] for row in study.trials.values() if row["finished_at"]]
    live_at = [float(study.live["updated_at"])] if study.live else []
    state = _state(study, run, missing)
    return {
        "name": study.name,
        "question": str(study.tree.get("question") or ""),
        "mode": str(study.tree.get("mode") or "ablation"),
        "state": state,
        "metric": metric_of(study).label,
        "planned": total,
        "ended": sum(counts.values()),
        "counts": dict(counts),
        "running": len(running(study)),
        "eta_seconds": study.live.get("eta_seconds") if study.live and is_current(study.live, time.time()) else None,
        "statement": statement(study, state),
        "last_activity": max([*finished, *live_at], default=None),
        "cost": cost(study.trials.values()),
        "run": run.id if run else None,
    }


def _state(study: StudyIndex, run: Run | None, missing: int | None) -> StudyState:
    if run is not None and run.state in ("queued", "running", "stopping"):
        return "queued" if run.state == "queued" else "stopping" if run.state == "stopping" else "running"
    if is_current(study.live, time.time()):
        return "running"
    if missing is None:
        return "unreadable"
    return "incomplete" if missing else "complete"


def planned(study: StudyIndex) -> int | None:
    """Return how many cells or trials the study has; None where its file cannot be planned."""
    if study.plan is not None:
        return study.plan.size
    if study.spec is None:
        return None
    size = study.spec.search_space().size if study.spec.search.searcher == "grid" else None
    return size or study.spec.search.trials


def missing_cells(study: StudyIndex) -> int | None:
    """Return how many planned cells have no finished trial; None where the study's file cannot be planned."""
    total = planned(study)
    if total is None:
        return None
    if study.plan is None:
        return max(0, total - len(study.trials))
    ended = {row["digest"] for row in study.trials.values()}
    return total - sum(cell.digest in ended for cell in study.plan.cells)


def statement(study: StudyIndex, state: StudyState) -> str:
    """Return in a sentence whether the study has an answer yet."""
    total, missing = planned(study), missing_cells(study)
    if total is None or missing is None:
        return "the study's file cannot be read"
    if study.plan is None:
        return f"{total - missing} of {total} trials are finished"
    if missing:
        return not_yet_decided(missing, total)
    failed = sum(row["planned"] and row["status"] == "failed" for row in study.trials.values())
    lost = f"; {failed} of them failed and have no value" if failed else ""
    return f"all {total} cells are finished{lost}"


def not_yet_decided(missing: int, total: int) -> str:
    """Return the words shown instead of a verdict while planned cells are missing."""
    return f"not yet decided: {missing} of {total} cells {'is' if missing == 1 else 'are'} missing"


def running(study: StudyIndex) -> list[Mapping[str, Any]]:
    """Return the running trials of the live state, with arms named by the current plan; none where it is old."""
    if not is_current(study.live, time.time()) or study.live is None:
        return []
    names = {cell.digest: cell.arm.name for cell in study.plan.cells} if study.plan else {}
    return [{**trial, "arm": names.get(trial["digest"], trial["arm"])} for trial in study.live["running"]]


def cost(rows: Iterable[Row]) -> Cost:
    """Return what trials took: their own time, and that times the share of GPUs and CPUs given."""
    seconds = [(row["seconds"] or 0.0, row.get("gpus") or 0.0, row.get("cpus") or 0.0) for row in rows]
    return Cost(
        trial_seconds=sum(own for own, _, _ in seconds),
        gpu_seconds=sum(own * gpus for own, gpus, _ in seconds),
        cpu_seconds=sum(own * cpus for own, _, cpus in seconds),
    )


def _cells(study: StudyIndex) -> list[GridCell]:
    """Return the planned cells in the plan's order; of a search, its trials, the latest first."""
    metric = metric_of(study).name
    live = {trial["digest"]: trial for trial in running(study)}
    arms = {arm.name for arm in study.plan.arms} if study.plan else set()
    by_digest = {row["digest"]: (key, row) for key, row in study.trials.items()}
    if study.plan is None:
        rows = sorted(study.trials.items(), key=lambda item: -(item[1]["finished_at"] or 0.0))
        cells = [_running_cell(trial) for trial in live.values() if trial["digest"] not in by_digest]
        return cells + [_ended_cell(row["arm"], row["seed"], key, row, metric) for key, row in rows]
    cells = _later_cells(study.plan)
    for cell in sorted(study.plan.cells, key=lambda cell: cell.arm.name not in arms):
        arm, seed = cell.arm.name, cell.config.seed
        if cell.digest in by_digest and not (by_digest[cell.digest][1]["status"] == "failed" and cell.digest in live):
            cells.append(_ended_cell(arm, seed, *by_digest[cell.digest], metric))
        elif cell.digest in live:
            cells.append(_running_cell({**live[cell.digest], "arm": arm, "seed": seed}))
        else:
            cells.append(GridCell(arm=arm, seed=seed, state="missing"))
    return cells


def _later_cells(plan: Plan) -> list[GridCell]:
    """Return the final cells of a tuned ablation that are not known yet: the trials before them have not all ended."""
    known = {(cell.arm.name, cell.config.seed) for cell in plan.cells}
    later = dict.fromkeys((trial.arm.name, trial.final.config.seed) for trial in plan.tuning)
    return [GridCell(arm=arm, seed=seed, state="missing") for arm, seed in later if (arm, seed) not in known]


def _running_cell(trial: Mapping[str, Any]) -> GridCell:
    return GridCell(arm=trial["arm"], seed=trial["seed"], state="running", epoch=trial["epoch"], epochs=trial["epochs"])


def _ended_cell(arm: str, seed: int, key: str, row: Row, metric: str) -> GridCell:
    return GridCell(
        arm=arm,
        seed=seed,
        state=row["status"],
        value=row["metrics"].get(metric),
        trial=key,
        epoch=row["epochs_trained"],
        epochs=row["epochs_planned"],
    )


def failures(study: StudyIndex) -> list[TrialFailure]:
    """Return the trials that failed or diverged, the latest first."""
    rows = [(key, row) for key, row in study.trials.items() if row["status"] in ("failed", "diverged")]
    rows.sort(key=lambda item: -(item[1]["finished_at"] or 0.0))
    found = []
    for key, row in rows[:MAX_FAILURES]:
        reason, place = reason_of(row)
        fields = {"trial": key, "arm": row["arm"], "seed": row["seed"], "status": row["status"]}
        found.append(TrialFailure(**fields, reason=reason, place=place))
    return found


def reason_of(row: Row) -> tuple[str, str | None]:
    """Return why a trial did not complete, and the file and line of the user's own code where its traceback has one."""
    if row["status"] == "diverged":
        return f"a loss was not finite after epoch {row['epochs_trained']}", None
    lines = [line for line in (row.get("error") or "").splitlines() if line.strip()]
    if not lines:
        return "no message was kept", None
    places = [
        f"{path}, line {line}"
        for path, line in _OWN_PACKAGES.findall(row["error"])
        if not any(part in path for part in _LIBRARIES)
    ]
    return lines[-1].strip()[:500], places[-1] if places else None


def _problems(study: StudyIndex) -> list[str]:
    damaged = [f"{name} cannot be read and is left out" for name in study.damaged[:20]]
    other = sum(not row["planned"] for row in study.trials.values())
    left_out = f"{other} trials in the store are not in the current plan" if other else ""
    return [*study.problems, *damaged, *filter(None, [left_out])]
