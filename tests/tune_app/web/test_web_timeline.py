"""The timeline of hosts: lanes without overlaps, shares that add up, and what is left out."""

from types import SimpleNamespace

from tune_app.web.timeline import MAX_TRIALS, WIDTH, shares, timeline


def study(*trials):
    rows = {}
    for number, (node, start, end, gpus) in enumerate(trials):
        rows[str(number)] = {
            "node": node, "started_at": start, "finished_at": end, "gpus": gpus, "cpus": 2.0, "status": "completed",
            "arm": "a", "seed": number,
        }  # fmt: skip
    return SimpleNamespace(trials=rows, live=None, plan=None, remember=lambda key, make: make())


def test_shares_in_use_add_up_at_each_moment():
    assert shares([(0, 10, 0.5), (5, 20, 0.25), (10, 20, 0.5)]) == [(0, 0.5), (5, 0.75), (10, 0.75), (20, 0.0)]


def test_trials_side_by_side_have_lanes_of_their_own():
    found = timeline(
        study(("b", 0.0, 50.0, 0.5), ("b", 25.0, 100.0, 0.5), ("b", 50.0, 75.0, 0.5), ("a", 90.0, 100.0, 0.0))
    )
    assert [(host.name, host.unit, host.most) for host in found.hosts] == [("a", "CPUs", 2.0), ("b", "GPUs", 1.0)]
    bars = found.hosts[1].bars
    assert [(bar.x, bar.width, bar.lane) for bar in bars] == [(0.0, 500.0, 0), (250.0, 750.0, 1), (500.0, 250.0, 0)]
    assert found.hosts[1].lanes == 2
    assert max(bar.x + bar.width for host in found.hosts for bar in host.bars) == WIDTH


def test_only_the_latest_trials_are_drawn_and_those_without_times_are_not():
    many = study(*[("a", float(n), n + 0.5, 0.0) for n in range(MAX_TRIALS + 7)], ("a", None, 5.0, 0.0))
    found = timeline(many)
    assert (found.left_out, len(found.hosts[0].bars), found.start) == (7, MAX_TRIALS, 7.0)
    assert timeline(study()) is None
