"""The time left, replayed with the times at which trials of real runs started and ended."""

import pytest

from tune_app.tuning.eta import TimeLeft

# quickstart, 18 trials in 3 kinds, two side by side: (start, end) in seconds after the first start.
SHORT = [
    (0.0, 2.7),
    (0.2, 3.2),
    (2.7, 3.8),
    (3.2, 4.2),
    (3.8, 4.8),
    (4.2, 4.7),
    (4.8, 5.4),
    (4.8, 5.8),
    (5.4, 6.5),
    (5.8, 6.8),
    (6.5, 7.4),
    (6.8, 7.4),
    (7.4, 8.0),
    (7.4, 8.4),
    (8.0, 9.1),
    (8.4, 9.4),
    (9.1, 10.0),
    (9.4, 9.9),
]
# A tuned ablation, first 40 trials of different lengths, two side by side. The first two include the workers' start.
VARIED = [
    (0.0, 18.4),
    (0.2, 18.2),
    (18.3, 20.6),
    (18.6, 20.5),
    (20.6, 21.8),
    (20.7, 22.3),
    (21.8, 23.5),
    (22.3, 23.1),
    (23.2, 25.8),
    (23.5, 26.2),
    (25.9, 29.2),
    (26.4, 31.1),
    (29.2, 32.3),
    (31.1, 34.9),
    (32.3, 35.3),
    (35.0, 36.6),
    (35.4, 38.0),
    (36.8, 38.5),
    (38.0, 39.0),
    (38.5, 39.0),
    (39.0, 39.6),
    (39.1, 39.9),
    (39.6, 40.6),
    (39.9, 40.4),
    (40.4, 41.1),
    (40.6, 43.2),
    (41.2, 43.1),
    (43.2, 46.4),
    (43.3, 44.6),
    (44.7, 47.8),
    (46.4, 48.7),
    (47.8, 49.0),
    (48.8, 50.5),
    (49.0, 51.1),
    (50.5, 53.1),
    (51.2, 52.2),
    (52.2, 53.4),
    (53.1, 55.2),
    (53.4, 56.1),
    (55.2, 57.3),
]


class Replay:
    """Runs the events of recorded trials and keeps the estimates: (seconds since the start, seconds left)."""

    def __init__(self, times):
        self.now, self.estimates = 0.0, []
        self.left = TimeLeft(len(times), clock=lambda: self.now)
        self.took = max(end for _, end in times)
        events = [(start, 1, str(trial)) for trial, (start, _) in enumerate(times)]
        events += [(end, 0, str(trial)) for trial, (_, end) in enumerate(times)]
        for self.now, is_start, trial in sorted(events):
            (self.left.started if is_start else self.left.ended)(trial)
            if not is_start and (seconds := self.left.seconds()) is not None:
                self.estimates.append((self.now, seconds))

    def errors(self):
        """Return the errors of the estimated total time, as shares of the real one."""
        return [abs(now + left - self.took) / self.took for now, left in self.estimates]


@pytest.mark.parametrize(("times", "first", "worst"), [(SHORT, 0.15, 0.15), (VARIED, 0.15, 0.2)])
def test_total_time_is_estimated_from_the_fifth_trial_on(times, first, worst):
    replay = Replay(times)
    ends = sorted(end for _, end in times)
    assert replay.estimates[0][0] == ends[4]
    assert replay.errors()[0] < first
    assert max(replay.errors()) < worst


def test_the_start_of_workers_is_not_in_the_rate():
    """Eleven trials of 1 s, of which the first ends after 30 s of start-up."""
    replay = Replay([(max(0.0, 29.0 + n), 30.0 + n) for n in range(11)])
    assert [left for _, left in replay.estimates] == pytest.approx(
        [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0][-len(replay.estimates) :]
    )
    assert len(replay.estimates) >= 6


def test_running_trials_count_as_far_as_they_are():
    now = [0.0]
    left = TimeLeft(4, clock=lambda: now[0])
    left.started("a")
    left.started("b")
    left.reported("a", 0.1)
    assert left.seconds() is None  # nothing was done since the first report
    now[0] = 9.0
    left.reported("a", 0.9)
    left.reported("b", 0.9)
    assert left.seconds() is None  # 1.7 trials are too few
    left.ended("b")
    left.reported("c", 0.3)
    assert left.seconds() == pytest.approx((4 - 2.2) * 9.0 / 2.1)


def test_a_trial_that_is_tried_again_does_not_count():
    now = [0.0]
    left = TimeLeft(8, clock=lambda: now[0])
    for trial in range(5):
        left.started(str(trial))
        now[0] += 1.0
        left.ended(str(trial), counts=False)
    assert left.seconds() is None


def test_nothing_is_said_when_all_have_ended():
    replay = Replay([(float(n), n + 1.0) for n in range(8)])
    assert replay.left.seconds() is None
    assert replay.estimates[-1][0] == 7.0
