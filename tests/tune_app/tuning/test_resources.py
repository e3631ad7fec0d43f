import pytest

from search_spaces.errors import StudyError
from search_spaces.study_files import study_from
from search_spaces.study_parts import Resources
from tune_app.tuning import inline
from tune_app.tuning.resources import concurrency, gpu_share


@pytest.mark.parametrize(
    ("asked", "cluster", "share"),
    [
        ("auto", {"CPU": 2.0}, 0.0),
        ("auto", {"CPU": 2.0, "GPU": 1.0}, 0.25),
        (0.5, {"CPU": 2.0, "GPU": 1.0}, 0.5),
        (2.0, {"CPU": 2.0, "GPU": 4.0}, 2.0),
        (0.0, {"CPU": 2.0, "GPU": 4.0}, 0.0),
    ],
)
def test_a_trial_gets_the_share_it_asks_for(asked, cluster, share):
    assert gpu_share(Resources(gpu=asked), cluster) == share


def test_a_trial_that_runs_alone_in_this_process_gets_a_whole_gpu_unless_asked_otherwise(monkeypatch):
    spec = study_from({"name": "alone", "factors": {"model.norm": ["batch", "none"]}})
    for gpus, share in ((0.0, 0.0), (1.0, 1.0), (4.0, 1.0)):
        monkeypatch.setattr(inline, "local_resources", lambda gpus=gpus: {"CPU": 4.0, "GPU": gpus})
        assert inline.InlineExecutor().gpu_share(spec) == share
    half = study_from({"name": "half", "factors": {"model.norm": ["batch", "none"]}, "resources": {"gpu": 0.5}})
    assert inline.InlineExecutor().gpu_share(half) == 0.5


def test_a_gpu_that_no_machine_has_is_said_before_training():
    with pytest.raises(StudyError, match=r"`resources.gpu` is 0.5, but this Ray has 0 GPUs; use gpu: auto"):
        gpu_share(Resources(gpu=0.5), {"CPU": 2.0})


def test_cpus_that_no_machine_has_are_said_before_training():
    with pytest.raises(StudyError, match=r"`resources.cpu` is 8, but this Ray has 2 CPUs"):
        gpu_share(Resources(cpu=8.0), {"CPU": 2.0})


def test_an_autoscaling_cluster_may_bring_up_what_it_lacks():
    assert gpu_share(Resources(gpu=0.5), {"CPU": 1.0}, autoscaling=True) == 0.5
    assert gpu_share(Resources(gpu=0.5), {}, autoscaling=True) == 0.5


def test_auto_is_not_decided_by_a_cluster_that_has_started_no_machine_for_trials():
    with pytest.raises(StudyError, match=r"`resources.gpu` is auto, but .* not started any machine for trials yet"):
        gpu_share(Resources(), {"memory": 1e9}, autoscaling=True)
    assert gpu_share(Resources(), {"CPU": 4.0}, autoscaling=True) == 0
    assert gpu_share(Resources(gpu=0), {}, autoscaling=True) == 0


@pytest.mark.parametrize(
    ("cpus", "share", "cluster", "side_by_side"),
    [
        (1.0, 0.0, {"CPU": 2.0}, 2),
        (4.0, 0.0, {"CPU": 2.0}, 1),
        (1.0, 0.25, {"CPU": 16.0, "GPU": 2.0}, 8),
        (1.0, 0.4, {"CPU": 16.0, "GPU": 2.0}, 4),
        (1.0, 2.0, {"CPU": 16.0, "GPU": 4.0}, 2),
        (4.0, 0.25, {"CPU": 8.0, "GPU": 2.0}, 2),
    ],
)
def test_trials_side_by_side_never_share_across_a_boundary(cpus, share, cluster, side_by_side):
    assert concurrency(cpus, share, cluster) == side_by_side
