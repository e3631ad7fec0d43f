"""When a trial counts as hung: silence is counted by a clock of the test's own."""

from types import SimpleNamespace

import pytest

from search_spaces.errors import StudyError
from search_spaces.study_files import study_from
from tune_app.tuning.watchdog import FACTOR, FIRST_SECONDS, LEAST_SECONDS, START_SECONDS, STEP_SECONDS, Watchdog


class Time:
    """A clock, and a watchdog with two running trials, ``a`` and ``b``."""

    def __init__(self, timeout):
        self.now, self.ended = 0.0, []
        self.trials = [SimpleNamespace(trial_id=name, status="RUNNING") for name in "ab"]
        self.dog = Watchdog(timeout, lambda trial, why: self.ended.append((trial.trial_id, why)), lambda: self.now)
        for trial in self.trials:
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
