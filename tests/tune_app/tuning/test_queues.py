"""The queue of cells that grows as results come in."""

import json

from search_spaces.plan import make_plan
from tune_app.tuning.jobs import cell_job
from tune_app.tuning.queues import FINISHED, QueueSearcher


def seed_of(suggested):
    return json.loads(suggested["job"])["config"]["seed"]


def test_it_waits_while_a_running_trial_may_show_that_more_is_needed_and_then_asks_again(spec):
    jobs = [cell_job(cell, "f" * 16, 0.0) for cell in make_plan(spec).cells]
    ended, known = [], []

    def needed():
        wanted = jobs[:2] if len(ended) < 2 else jobs[:3]
        return [job for job in wanted if job.digest not in ended]

    queue = QueueSearcher(needed, on_new=known.append)
    assert [queue.suggest("a"), queue.suggest("b")] == [{"job": job.to_json()} for job in jobs[:2]]
    assert queue.suggest("c") is None
    queue.on_trial_complete("a")
    ended.append(jobs[0].digest)
    assert queue.suggest("c") is None
    queue.on_trial_complete("b")
    ended.append(jobs[1].digest)
    assert queue.suggest("c") == {"job": jobs[2].to_json()}
    queue.on_trial_complete("c")
    ended.append(jobs[2].digest)
    assert queue.suggest("d") == FINISHED
    assert [new for new in known if new] == [2, 1]


def test_a_job_without_a_result_is_handed_out_once(spec):
    """It awaits another attempt, which a later pass gives it."""
    jobs = [cell_job(cell, "f" * 16, 0.0) for cell in make_plan(spec).cells[:1]]
    queue = QueueSearcher(lambda: jobs)
    assert queue.suggest("a") == {"job": jobs[0].to_json()}
    queue.on_trial_complete("a")
    assert queue.suggest("b") == FINISHED


def test_it_asks_again_in_a_later_batch_after_it_had_nothing_left(spec):
    """Between two batches a job may have got its result in another attempt, from which more follows."""
    jobs = [cell_job(cell, "f" * 16, 0.0) for cell in make_plan(spec).cells[:2]]
    wanted = jobs[:1]
    queue = QueueSearcher(lambda: wanted)
    queue.suggest("a")
    queue.on_trial_complete("a")
    assert queue.suggest("b") == FINISHED
    wanted = jobs[1:]
    assert queue.suggest("c") == {"job": jobs[1].to_json()}
