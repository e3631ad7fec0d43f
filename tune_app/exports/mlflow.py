"""MLflow: a run for each trial, through the REST API of a tracking server (version 2.0, of MLflow 2 and 3)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import httpx

from search_spaces.errors import StudyError
from tune_app.exports.records import Trial

KEY, CONTENT, STUDY = "tune_app.key", "tune_app.content", "tune_app.study"
MAX_METRICS, MAX_PARAMS, MAX_VALUE = 1000, 100, 500
"""Limits of one request, and of the length of a parameter's value in every version of MLflow."""
TIMEOUT_SECONDS = 60.0
_STATUS = {"completed": "FINISHED", "pruned": "KILLED"}


def export(trials: Iterable[Trial], url: str, experiment: str, http: httpx.Client | None = None) -> str:
    """Write trials as runs of an experiment, which is made where there is none.

    A run that is there as the trial is now is left alone; one that differs, or that was not finished, is replaced. Runs
    of other studies are left alone: studies may share cells.
    ``http`` replaces the HTTP client, for tests. The variables MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and
    MLFLOW_TRACKING_PASSWORD, identify the caller. Raises StudyError where the server refuses or does not answer.
    """
    if http is None:
        with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as own:
            return export(trials, url, experiment, own)
    server = _Server(url, http)
    place = server.experiment(experiment)
    known = {(run["study"], run["key"]): run for run in server.runs(place)}
    written = same = 0
    for trial in trials:
        before = known.get((trial.study, trial.key))
        if before is not None and before["content"] == trial.content:
            same += 1
            continue
        if before is not None:
            server.post("runs/delete", {"run_id": before["id"]})
        server.write(place, trial)
        written += 1
    return f"{written} runs written to experiment {experiment!r} of {url}, {same} were there already"


class _Server:
    def __init__(self, url: str, http: httpx.Client) -> None:
        self._url, self._http = url.rstrip("/"), http
        token, user = os.environ.get("MLFLOW_TRACKING_TOKEN"), os.environ.get("MLFLOW_TRACKING_USERNAME")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._login = (user, os.environ.get("MLFLOW_TRACKING_PASSWORD", "")) if user and not token else None

    def experiment(self, name: str) -> str:
        """Return the id of an experiment; make it where there is none."""
        found = self._send("GET", "experiments/get-by-name", params={"experiment_name": name})
        if found.status_code == 404:
            return str(self.post("experiments/create", {"name": name})["experiment_id"])
        return str(self._content(found)["experiment"]["experiment_id"])

    def runs(self, experiment: str) -> Iterator[dict[str, str]]:
        """Yield id, key, study and content of the runs that an export made; no content where it did not finish."""
        query: dict[str, Any] = {"experiment_ids": [experiment], "max_results": 1000, "run_view_type": "ACTIVE_ONLY"}
        while True:
            found = self.post("runs/search", query)
            for run in found.get("runs", ()):
                tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", ())}
                if KEY in tags:
                    study, content = tags.get(STUDY, ""), tags.get(CONTENT, "")
                    yield {"id": run["info"]["run_id"], "key": tags[KEY], "study": study, "content": content}
            if not found.get("next_page_token"):
                return
            query["page_token"] = found["next_page_token"]

    def write(self, experiment: str, trial: Trial) -> None:
        """Make the run of a trial; the tag that says that it is whole comes last."""
        started, ended = int(trial.started_at * 1000), int(trial.finished_at * 1000)
        tags = _pairs({**trial.tags, "arm": trial.arm, KEY: trial.key, STUDY: trial.study})
        start = {"experiment_id": experiment, "run_name": trial.name, "start_time": started, "tags": tags}
        run = self.post("runs/create", start)["run"]["info"]["run_id"]
        for params in _parts(_pairs(trial.params), MAX_PARAMS):
            self.post("runs/log-batch", {"run_id": run, "params": params})
        points = [(name, value, epoch) for epoch, values in trial.epochs for name, value in values.items()]
        points += [(f"final_{name}", value, 0) for name, value in trial.metrics.items()]
        for some in _parts(points, MAX_METRICS):
            metrics = [{"key": name, "value": value, "step": step, "timestamp": ended} for name, value, step in some]
            self.post("runs/log-batch", {"run_id": run, "metrics": metrics})
        state = _STATUS.get(trial.status, "FAILED")
        self.post("runs/update", {"run_id": run, "status": state, "end_time": ended})
        self.post("runs/set-tag", {"run_id": run, "key": CONTENT, "value": trial.content})

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and return the answer; StudyError where it is refused."""
        return self._content(self._send("POST", path, json=body))

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        address = f"{self._url}/api/2.0/mlflow/{path}"
        try:
            return self._http.request(method, address, headers=self._headers, auth=self._login, **more)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise StudyError(
                f"`--to` is {self._url!r}, but no MLflow server answers there: {error}; the results are in the store: "
                "run the same command again when the server is up"
            ) from None

    def _content(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            found = answer.json()
        except ValueError:
            found = None
        if answer.is_success and isinstance(found, dict):
            return found
        said = found.get("message") if isinstance(found, dict) else "it is no MLflow server"
        raise StudyError(f"{answer.url.copy_with(query=None)} answers {answer.status_code}: {said}")


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _pairs(values: Mapping[str, str]) -> Sequence[dict[str, str]]:
    return [{"key": name, "value": value[:MAX_VALUE]} for name, value in values.items()]
