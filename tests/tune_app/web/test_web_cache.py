"""Answers that are kept: computed once, up to a size, and never an old one."""

import threading

import pytest

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
    assert cache.get("huge", lambda: b"anew") == b"anew"


def test_an_error_is_raised_and_not_kept():
    cache = Cache(10)

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.get("key", fail)
    assert cache.get("key", lambda: b"now") == b"now"
