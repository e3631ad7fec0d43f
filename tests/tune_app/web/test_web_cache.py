"""Answers that are kept: computed once, up to a size, and never an old one."""

import threading
import time
from types import SimpleNamespace

import pytest

from tune_app.web import answers
from tune_app.web.answers import Answers
from tune_app.web.cache import Cache


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
