"""What the API says about a study: state, progress, cost, cells and failures, from its index."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from search_spaces.errors import headline
from tune_app.tuning.store.live import is_current
from tune_app.web.cells import ended_cells, with_running
from tune_app.web.costs import cost, study_cost
from tune_app.web.index import StudyIndex
from tune_app.web.metrics import info, infos, record
from tune_app.web.models import MetricInfo, StudyDetail, StudyState, StudySummary, TrialFailure
from tune_app.web.run_models import Run
from tune_app.web.tables import Row

MAX_FAILURES = 50
_OWN_LINE = re.compile(r"(.+?, line \d+), in [^:]+: (.+)")
"""The first line of an error in the user's code, as `user_traceback` writes it."""
_FRAME = re.compile(r'^\s*File "([^"]+)", line (\d+)', re.MULTILINE)
_LIBRARIES = ("/site-packages/", "/dist-packages/", "/lib/python3", "/tune_app/", "<frozen ")


def summary(study: StudyIndex, run: Run | None) -> StudySummary:
    """Return a study as the list shows it."""
    return StudySummary(**_common(study, run))


def detail(study: StudyIndex, run: Run | None) -> StudyDetail:
    """Return a study with its cells, failures and metrics."""
    ended = study.remember("ended", lambda: ended_cells(study, metric_of(study).name))
    return StudyDetail(
        **_common(study, run),
        metric_info=metric_of(study),
        metrics=metrics_of(study),
        arms=ended.arms,
        seeds=ended.seeds,
        replicate=study.spec.replicate if study.spec else "seed",
        cells=with_running(study, ended, running(study)),
        failures=study.remember("failures", lambda: failures(study)),
        problems=study.remember("problems", lambda: _problems(study)),
        costs=study.remember("costs", lambda: study_cost(study)),
        live_at=float(study.live["updated_at"]) if study.live else None,
    )


def metrics_of(study: StudyIndex) -> list[MetricInfo]:
    """Return the metrics of a study that has values: the study's own first, then those by epoch."""

    def names() -> list[str]:
        return list(dict.fromkeys(name for row in study.trials.values() for name in row["metrics"]))

    found = [metric_of(study).name, *curve_metrics(study), *study.remember("metrics", names)]
    return infos(dict.fromkeys(found), study.spec)


def metric_of(study: StudyIndex) -> MetricInfo:
    """Return the metric that the study's verdicts are about."""
    name = str(study.spec.metric if study.spec else study.tree.get("metric") or "")
    return info(record(name, study.spec))


def curve_metrics(study: StudyIndex) -> list[str]:
    """Return the metrics that have a value by epoch; before the first epoch, the one that chooses."""
    for rows in study.epochs().values():
        return list(rows.names)
    for trial in running(study):
        if trial["points"]:
            return list(trial["points"])
    return [study.spec.choose_by_metric()] if study.spec else []


def _common(study: StudyIndex, run: Run | None) -> dict[str, Any]:
    live_at = [float(study.live["updated_at"])] if study.live else []
    state = _state(study, run, missing_cells(study))
    found = study.remember("common", lambda: _finished(study))
    last = [found["last_activity"]] if found["last_activity"] else []
    return found | {
        "state": state,
        "running": len(running(study)),
        "eta_seconds": study.live.get("eta_seconds") if study.live and is_current(study.live, time.time()) else None,
        "last_activity": max([*last, *live_at], default=None),
        "run": run.id if run else None,
    }


def _finished(study: StudyIndex) -> dict[str, Any]:
    """Return what the list shows of a study that does not depend on what is running."""
    counts = Counter(row["status"] for row in study.trials.values() if row["planned"])
    return {
        "name": study.name,
        "question": str(study.tree.get("question") or ""),
        "mode": str(study.tree.get("mode") or "ablation"),
        "metric": metric_of(study).label,
        "planned": planned(study),
        "ended": sum(counts.values()),
        "counts": dict(counts),
        "statement": statement(study),
        "last_activity": max((row["finished_at"] or 0.0 for row in study.trials.values()), default=None),
        "cost": cost(study.trials.values(), study.spec.budget if study.spec else None),
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
    return study.remember("planned", study.spec.planned_trials) if study.spec is not None else None


def missing_cells(study: StudyIndex) -> int | None:
    """Return how many planned cells have no finished trial; None where the study's file cannot be planned."""
    return study.remember("missing", lambda: _missing_cells(study))


def _missing_cells(study: StudyIndex) -> int | None:
    total = planned(study)
    if total is None:
        return None
    if study.plan is None:
        return max(0, total - sum(1 for row in study.trials.values() if row["planned"]))
    ended = {row["digest"] for row in study.trials.values() if row["planned"]}
    return total - sum(cell.digest in ended for cell in study.plan.cells)


def statement(study: StudyIndex) -> str:
    """Return in a sentence whether the study has an answer yet."""
    total, missing = planned(study), missing_cells(study)
    if total is None or missing is None:
        return "the study's file cannot be read"
    if study.plan is None:
        return f"{total - missing} of {total} trials are finished"
    if missing:
        return not_yet_decided(study, missing, total)
    failed = sum(row["planned"] and row["status"] == "failed" for row in study.trials.values())
    lost = f"; {failed} of them failed and have no value" if failed else ""
    return f"all {total} cells are finished{lost}"


def not_yet_decided(study: StudyIndex, missing: int, total: int) -> str:
    """Return the words shown instead of a verdict while planned cells are missing."""
    stage = f"{study.stage}; " if study.stage else ""
    return f"{stage}not yet decided: {missing} of {total} cells {'is' if missing == 1 else 'are'} missing"


def running(study: StudyIndex) -> list[Mapping[str, Any]]:
    """Return the running trials of the live state, with arms named by the current plan; none where it is old."""
    if not is_current(study.live, time.time()) or study.live is None:
        return []
    names = study.remember("names", lambda: _names(study))
    return [{**trial, "arm": names.get(trial["digest"], trial["arm"])} for trial in study.live["running"]]


def _names(study: StudyIndex) -> dict[str, str]:
    return {cell.digest: cell.arm.name for cell in study.plan.cells} if study.plan else {}


def failures(study: StudyIndex) -> list[TrialFailure]:
    """Return the latest trials of the current plan that failed or diverged, the latest first."""
    trials = study.trials.items()
    rows = [(key, row) for key, row in trials if row["planned"] and row["status"] in ("failed", "diverged")]
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
    said = headline(row.get("error") or "")
    if not said:
        return "no message was kept", None
    if own := _OWN_LINE.fullmatch(said):
        return own[2][:500], own[1]
    places = [
        f"{path}, line {line}"
        for path, line in _FRAME.findall(row["error"])
        if not any(part in path for part in _LIBRARIES)
    ]
    return said[:500], places[-1] if places else None


def _problems(study: StudyIndex) -> list[str]:
    damaged = [f"{name} cannot be read and is left out" for name in study.damaged[:20]]
    others = [row["is_outdated"] for row in study.trials.values() if not row["planned"]]
    version, other = sum(others), len(others) - sum(others)
    left_out = f"{other} trials in the store are not in the current plan" if other else ""
    old = f"{version} trials were trained on another version of the data and are left out" if version else ""
    return [*study.problems, *damaged, *filter(None, [left_out, old])]
