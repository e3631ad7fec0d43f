"""When a trial counts as hung: silence is counted by a clock of the test's own."""

from types import MappingProxyType, SimpleNamespace

import pytest

from search_spaces.errors import StudyError
from search_spaces.study_files import study_from
from tune_app.tuning.trainable import GATE_SECONDS
from tune_app.tuning.watchdog import (
    FACTOR,
    FIRST_SECONDS,
    FIRST_START_SECONDS,
    LEAST_SECONDS,
    QUIET_SECONDS,
    START_SECONDS,
    STEP_SECONDS,
    Watchdog,
)


class Time:
    """A clock, and a watchdog with two running trials, ``a`` and ``b``, or two whose processes are being started."""

    def __init__(self, timeout, started=True, arms=MappingProxyType({})):
        self.now, self.ended, self.said, self.starting = 0.0, [], [], "" if started else "ab"
        self.trials = [SimpleNamespace(trial_id=name, status="RUNNING" if started else "PENDING") for name in "ab"]
        self.dog = Watchdog(
            timeout,
            lambda trial, why: self.ended.append((trial.trial_id, why)),
            lambda: self.now,
            starts=lambda trial: trial.trial_id in self.starting,
            arm=lambda trial: arms.get(trial.trial_id, trial.trial_id),
            say=self.said.append,
        )
        for trial in self.trials if started else ():
            self.dog.on_trial_start(trial=trial)

    def start(self, name):
        trial = next(trial for trial in self.trials if trial.trial_id == name)
        trial.status, self.starting = "RUNNING", self.starting.replace(name, "")
        self.dog.on_trial_start(trial=trial)

    def pass_(self, seconds, reporting="b", every=1.0):
        for _ in range(round(seconds / every)):
            self.now += every
            for trial in self.trials:
                if trial.trial_id in reporting:
                    self.dog.on_trial_result(trial=trial, result={"epochs": []})
            self.dog.on_step_end(trials=self.trials)

    def report(self, name, *seconds):
        trial = next(trial for trial in self.trials if trial.trial_id == name)
        self.dog.on_trial_result(trial=trial, result={"epochs": [{"seconds": each} for each in seconds]})

    @property
    def names(self):
        return [name for name, _ in self.ended]


def test_a_silent_trial_is_ended_at_the_given_limit_and_one_that_reports_is_not():
    time = Time(30.0)
    time.report("a")
    time.pass_(30)
    assert time.names == []
    time.pass_(1)
    assert time.names == ["a"]
    assert "no report for 30 s (`trial_timeout`)" in time.ended[0][1]


def test_the_first_report_may_take_longer_by_the_start_of_a_worker():
    time = Time(30.0)
    time.pass_(30 + START_SECONDS)
    assert time.names == []
    time.pass_(1)
    assert time.names == ["a"]


def test_a_worker_waits_for_the_others_for_less_than_it_is_given_for_that():
    assert GATE_SECONDS < START_SECONDS


def test_a_process_that_does_not_start_is_ended_at_the_given_limit_and_the_time_of_a_start():
    time = Time(30.0, started=False)
    time.pass_(30 + START_SECONDS, reporting="")
    assert time.names == []
    time.pass_(1, reporting="")
    assert sorted(time.names) == ["a", "b"]
    assert "its process did not start for 90 s (`trial_timeout`)" in time.ended[0][1]


def test_auto_gives_a_start_a_fixed_time_until_one_has_succeeded_then_twenty_times_that():
    never, slow, quick = (Time("auto", started=False) for _ in range(3))
    never.pass_(FIRST_START_SECONDS, reporting="")
    assert never.names == []
    never.pass_(1, reporting="")
    assert sorted(never.names) == ["a", "b"]
    for time, seconds, limit in ((slow, 10, FACTOR * 10), (quick, 1, START_SECONDS)):
        time.pass_(seconds, reporting="")
        time.start("b")
        time.pass_(limit - seconds)
        assert time.names == []
        time.pass_(1)
        assert time.names == ["a"]


def test_a_trial_that_waits_for_a_place_is_not_starting():
    time = Time(30.0, started=False)
    time.starting = ""
    time.pass_(10_000, reporting="", every=5.0)
    assert time.names == []


def test_a_process_started_again_has_the_time_of_a_start_again():
    time = Time(30.0)
    time.report("a")
    time.trials[0].status, time.starting = "PENDING", "a"
    time.dog.on_trial_recover(trial=time.trials[0])
    time.pass_(30 + START_SECONDS)
    assert time.names == []
    time.pass_(1)
    assert time.names == ["a"]


@pytest.mark.parametrize(
    ("timeout", "limit"),
    [("auto", "is ended after 600 s"), (30.0, "is ended after 90 s"), (None, "nothing ends such a process")],
)
def test_a_run_without_any_report_says_once_what_it_waits_for_and_how_to_set_the_limit(timeout, limit):
    time = Time(timeout, started=False)
    time.pass_(10, reporting="")
    time.start("b")
    time.pass_(QUIET_SECONDS - 10, reporting="")
    assert time.said == []
    time.pass_(20, reporting="")
    assert len(time.said) == 1
    assert "trials in their first epoch: 1, processes that start and import: 1; such a process" in time.said[0].replace(
        "nothing ends such", "such"
    )
    assert "`trial_timeout: SECONDS`" in time.said[0]
    assert limit.replace("600", "200") in time.said[0]


def test_a_run_that_has_reported_says_nothing_of_a_long_epoch():
    time = Time("auto")
    time.report("a")
    time.pass_(2 * QUIET_SECONDS, reporting="")
    assert time.said == []


def test_auto_waits_for_twenty_times_the_longest_epoch_of_the_trial_itself():
    time = Time("auto")
    time.report("a", 30.0, 50.0, 40.0)
    time.pass_(FACTOR * 50)
    assert time.names == []
    time.pass_(1)
    assert time.names == ["a"]


def test_auto_waits_no_less_than_the_least_and_longer_for_a_first_report():
    short, first = Time("auto"), Time("auto")
    short.report("a", 0.01)
    short.pass_(LEAST_SECONDS)
    first.pass_(FIRST_SECONDS)
    assert short.names == first.names == []
    short.pass_(1)
    first.pass_(1)
    assert short.names == first.names == ["a"]


def test_auto_knows_how_long_the_first_report_of_an_arm_takes_once_one_of_its_trials_has_reported():
    same, other = Time("auto", arms={"a": "arm", "b": "arm"}), Time("auto")
    for time in (same, other):
        time.pass_(50, reporting="")
        time.report("b", 1.0)
        time.pass_(FACTOR * 50 - 50)
        assert time.names == []
        time.pass_(1)
    assert (same.names, other.names) == (["a"], [])


def test_auto_measures_the_time_between_reports_where_epochs_do_not_say_theirs():
    time = Time("auto")
    time.report("a")
    time.pass_(100, every=5.0)
    time.report("a")
    time.pass_(FACTOR * 100, every=5.0)
    assert time.names == []
    time.pass_(5, every=5.0)
    assert time.names == ["a"]


def test_what_is_known_of_a_trial_stays_when_it_is_started_again():
    time = Time("auto")
    time.report("a", 1000.0)
    time.dog.on_trial_start(trial=time.trials[0])
    time.report("a", 0.1)
    time.pass_(LEAST_SECONDS + 1)
    assert time.names == []


def test_a_driver_that_was_stopped_itself_does_not_blame_the_trials():
    time = Time(30.0)
    time.report("a")
    time.pass_(100_000, reporting="", every=100_000)
    assert time.names == []
    time.pass_(30 - STEP_SECONDS, reporting="b")
    assert time.names == []


def test_trials_that_ended_or_do_not_run_are_not_counted():
    time = Time(30.0)
    time.report("a")
    time.report("b")
    time.trials[0].status = "PENDING"
    time.dog.on_trial_complete(trial=time.trials[1])
    time.pass_(100, reporting="")
    assert time.names == []


def test_null_means_never():
    time = Time(None)
    time.report("a")
    time.pass_(2 * FIRST_SECONDS, reporting="")
    assert time.names == []


@pytest.mark.parametrize("value", [0, -1, "sometimes", True, 1e300])
def test_a_limit_that_makes_no_sense_is_refused(value):
    tree = {"name": "s", "baseline": {"data": {"source": "digits"}}, "factors": {"batch_size": [64]}}
    with pytest.raises(StudyError, match=r"trial_timeout.*seconds above 0 and up to 10,000,000, auto, or null"):
        study_from(tree | {"trial_timeout": value})
    assert study_from(tree | {"trial_timeout": 60}).trial_timeout == 60.0


def test_the_limit_changes_no_digest():
    tree = {"name": "s", "baseline": {"data": {"source": "digits"}}, "factors": {"batch_size": [64]}}
    digests = {study_from(tree | {"trial_timeout": value}).baseline.digest() for value in ("auto", 9.5, None)}
    assert digests == {study_from(tree).baseline.digest()}
