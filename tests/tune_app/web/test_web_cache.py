"""Answers that are kept: computed once, up to a size, and never an old one."""

import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest

from bench.make_store import write_store
from tune_app.storage import Folder, StorageError
from tune_app.web import answers
from tune_app.web.answers import Answers
from tune_app.web.cache import Cache
from tune_app.web.index import StudyIndex
from tune_app.web.problems import ProblemError
from tune_app.web.run_models import RunSubmission
from tune_app.web.tokens import Identity


def test_an_answer_is_computed_once_however_many_ask_at_once():
    cache, made, started = Cache(1000), [], threading.Event()
    go = threading.Event()

    def make():
        started.set()
        assert go.wait(60)
        made.append(1)
        return b"answer"

    found = []
    threads = [threading.Thread(target=lambda: found.append(cache.get("key", make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert started.wait(60)
    go.set()
    for thread in threads:
        thread.join(60)
    assert found == [b"answer"] * 8
    assert made == [1]


def test_the_answers_longest_unused_are_forgotten_beyond_the_size():
    cache = Cache(10)
    for key in "ab":
        cache.get(key, lambda: b"x" * 5)
    cache.get("a", lambda: b"not asked")
    cache.get("c", lambda: b"y" * 5)
    assert cache.get("a", lambda: b"again") == b"x" * 5
    assert cache.get("b", lambda: b"again") == b"again"
    assert cache.get("huge", lambda: b"z" * 100) == b"z" * 100
    assert cache.get("huge", lambda: b"again") == b"again"


def test_an_error_is_raised_and_not_kept():
    cache = Cache(10)

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.get("key", fail)
    assert cache.get("key", lambda: b"now") == b"now"


def test_effects_that_take_long_are_shown_as_they_were_until_the_new_ones_are_there(tmp_path, monkeypatch):
    study = SimpleNamespace(name="s", finished_version="1")
    go = threading.Event()
    go.set()

    def compute(study, metric):
        assert go.wait(60)
        return f"effects of {study.finished_version}"

    monkeypatch.setattr(answers, "compute_effects", compute)
    monkeypatch.setattr(answers, "metric_of", lambda study: SimpleNamespace(name="m"))
    monkeypatch.setattr(answers, "QUICK_SECONDS", -1.0)
    found = Answers(tmp_path)
    assert (found.latest_version(study), found.latest(study)) == ("", "effects of 1")
    go.clear()
    study.finished_version = "2"
    assert (found.latest(study), found.latest_version(study)) == ("effects of 1", "1")
    go.set()
    end = time.monotonic() + 60
    while found.latest_version(study) != "2":
        assert time.monotonic() < end
    assert found.latest(study) == "effects of 2"
    study.finished_version = "3"
    assert found.effects(study, None) == "effects of 3"


@pytest.mark.parametrize("error", [ProblemError(500, "no memory"), StorageError("no answer")])
def test_effects_that_cannot_be_computed_in_the_background_say_so_until_they_can(error, tmp_path, monkeypatch):
    study, asked, fails = SimpleNamespace(name="s", finished_version="1"), [], [False]

    def compute(study, metric):
        asked.append(study.finished_version)
        if fails[0]:
            raise error
        return f"effects of {study.finished_version}"

    def until(holds):
        end = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end

    monkeypatch.setattr(answers, "compute_effects", compute)
    monkeypatch.setattr(answers, "metric_of", lambda study: SimpleNamespace(name="m"))
    monkeypatch.setattr(answers, "missing_cells", lambda study: 0)
    monkeypatch.setattr(answers, "QUICK_SECONDS", -1.0)
    study.plan, study.trials = "plan", {"trial": {}}
    found = Answers(tmp_path)
    assert found.latest(study) == "effects of 1"
    study.finished_version, fails[0] = "2", True
    assert found.latest(study) == "effects of 1"
    until(lambda: found.latest_version(study) == f"1 {error}" and not found._pending)
    for _ in range(3):
        with pytest.raises(ProblemError, match=str(error)):
            found.latest(study)
        assert found.known_statement(study) is None
        until(lambda: not found._pending)
    assert (asked.count("2") == 1) == isinstance(error, ProblemError), "what may pass is tried again"
    fails[0] = False
    if isinstance(error, ProblemError):
        study.finished_version = "3"
        assert found.latest(study) == "effects of 1"
    else:
        with suppress(ProblemError):
            found.latest(study)
    until(lambda: found.latest_version(study) == study.finished_version)
    assert found.latest(study) == f"effects of {study.finished_version}"


def test_a_report_is_written_again_when_a_landscape_was_computed(tmp_path, monkeypatch):
    store = write_store(tmp_path / "invented", seeds=2, epochs=1, extras=False)
    written = []

    def write(self, study):
        written.append(study.name)
        return store / "study.yaml"  # any file that exists

    monkeypatch.setattr(Answers, "_write_report", write)
    study, found = StudyIndex(Folder(str(store)), "invented"), Answers(tmp_path)
    study.refresh(0.0)
    for table in ("landscape", "curvature"):
        found.report(study)
        found.report(study)
        (store / table).mkdir()
        (store / table / "a.parquet").write_bytes(b"")
    found.report(study)
    assert written == ["invented"] * 3


def test_a_study_s_page_shows_the_run_that_is_queued_now(make_site, tmp_path):
    write_store(tmp_path / "results" / "invented", seeds=2, epochs=1, extras=False)
    site = make_site(tmp_path / "results")
    client, queue, who = site.client(), site.service.runs, Identity(1, "anna", "run")
    spec, tags = site.service.index.study("invented").spec, []
    for _ in range(2):
        run = queue.submit(spec, "", RunSubmission(study="invented"), who, None)[0].id
        page = client.get("/studies/invented")
        tags.append(page.headers["etag"])
        assert f"/runs/{run}/stop" in page.text
        queue.stop(run, who)
        assert f"/runs/{run}/stop" not in client.get("/studies/invented").text
    assert tags[0] != tags[1]
    run = queue.submit(spec, "", RunSubmission(study="invented"), who, None)[0].id
    queue._set(run, state="failed", reason="no space left")
    assert "no space left" in client.get("/studies/invented").text
