import io

import pytest

from tune_app.tuning.phases import Phases


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def out():
    return io.StringIO()


@pytest.fixture
def phases(now, out):
    return Phases(out, clock=lambda: now[0])


def test_each_phase_is_a_line_with_its_time_when_it_is_over(phases, now, out):
    with phases.phase("loading data"):
        now[0] = 1.25
        assert out.getvalue() == ""
    with phases.phase("starting Ray"):
        now[0] = 5.0
    assert out.getvalue() == "loading data: 1.2 s\nstarting Ray: 4 s\n"
    assert phases.seconds == {"loading data": 1.25, "starting Ray": 3.75}


def test_phases_may_overlap_and_end_in_any_order(phases, now, out):
    loading, starting = phases.phase("loading data"), phases.phase("starting Ray")
    loading.__enter__()
    now[0] = 1.0
    starting.__enter__()
    now[0] = 3.0
    loading.__exit__(None, None, None)
    now[0] = 4.0
    starting.__exit__(None, None, None)
    assert out.getvalue() == "loading data: 3 s\nstarting Ray: 3 s\n"


def test_a_phase_that_is_over_at_once_is_not_shown(phases, out):
    with phases.phase("loading data"):
        pass
    assert out.getvalue() == ""
    assert phases.seconds == {"loading data": 0.0}


def test_a_phase_that_fails_ends_too(phases, now, out):
    def load() -> None:
        with phases.phase("loading data"):
            now[0] = 2.0
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        load()
    assert out.getvalue() == "loading data: 2 s\n"
