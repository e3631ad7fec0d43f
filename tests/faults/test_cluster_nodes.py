"""Several nodes on loopback: one is lost in the middle; workers come when wanted and go when idle."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import pytest
import ray
import yaml
from drivers import CLI, stored, study, undisturbed, wait_until
from heads import head
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_TYPE
from ray.cluster_utils import Cluster

from analysis import load_study
from search_spaces.errors import StudyError
from search_spaces.study_files import study_from
from tune_app.tuning.runner import run_study

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

NODES = "import ray, json, sys; ray.init(sys.argv[1], log_to_driver=False); print(json.dumps([n['Resources'].get('GPU', 0) for n in ray.nodes() if n['Alive']]))"


@pytest.fixture
def cluster():
    """A head that trains nothing and two nodes of one CPU each."""
    folder = tempfile.mkdtemp(prefix="rc", dir="/tmp")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "temp_dir": folder, "include_dashboard": False})
    nodes = [made.add_node(num_cpus=1, temp_dir=folder) for _ in range(2)]
    ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
    yield made, nodes
    ray.shutdown()
    made.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_node_lost_in_the_middle_costs_only_what_came_after_the_last_checkpoint(cluster, tmp_path):
    made, nodes = cluster
    tree = study(epochs=100, seeds=2, max_failures=0)
    with pytest.raises(
        StudyError, match=r"this Ray has 3 nodes, .*--results s3://BUCKET/results, or say --shared-folder"
    ):
        run_study(study_from(tree), str(tmp_path / "refused"), address="auto")
    assert not list((tmp_path / "refused").rglob("*.pt"))

    def lose():
        wait_until(lambda: len(list((tmp_path / "tiny").rglob("last.pt"))) > 1)
        time.sleep(1)
        made.remove_node(nodes[1], allow_graceful=False)

    thread = threading.Thread(target=lose)
    thread.start()
    summary = run_study(study_from(tree), str(tmp_path), address="auto", shared_folder=True)
    thread.join()
    assert dict(summary.counts) == {"completed": 4}
    assert stored(tmp_path / "tiny") == undisturbed(tree)
    trials = load_study(tmp_path / "tiny").trials
    histories = [json.loads(history) for history in trials.history]
    assert ["process or node lost; went on from the last checkpoint"] in histories
    assert not any(entry.startswith("error:") for history in histories for entry in history)


def test_workers_come_from_none_for_a_quarter_of_a_gpu_each_and_go_when_idle(tmp_path):
    fake = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
    config = {
        "cluster_name": "fake",
        "max_workers": 2,
        "idle_timeout_minutes": 0.1,
        "upscaling_speed": 1.0,
        "auth": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "cluster_synced_files": [],
        "rsync_exclude": [],
        "rsync_filter": [],
        **{
            f"{who}{what}_commands": []
            for who, what in (
                ("", "initialization"),
                ("", "setup"),
                ("head_", "setup"),
                ("worker_", "setup"),
                ("head_", "start_ray"),
                ("worker_", "start_ray"),
            )
        },
        "provider": {
            "type": "external",
            "module": fake,
            "gcs_address": "127.0.0.1:PORT",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "head_node_type": FAKE_HEAD_NODE_TYPE,  # of any other type the provider's head does not count, and Ray adds one
        "available_node_types": {
            FAKE_HEAD_NODE_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "min_workers": 0, "max_workers": 0},
            "gpu": {"resources": {"CPU": 4, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
        },
    }
    file = tmp_path / "autoscaling.yaml"
    environment = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    with head(
        f"--autoscaling-config={file}", "--num-cpus=0", "--num-gpus=0", write=(file, config), **environment
    ) as made:

        def gpus():
            found = subprocess.run(
                [sys.executable, "-c", NODES, made.address], env=made.environment, capture_output=True, text=True
            )
            return json.loads(found.stdout.splitlines()[-1])

        assert gpus() == [0]
        tree = study(epochs=2, seeds=4, resources={"gpu": 0.25})
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(tree))

        def run(*options):
            return subprocess.run(
                [*CLI, "run", str(tmp_path / "study.yaml"), "--address", made.address, "--results", str(tmp_path), *options],
                env=made.environment | {"XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]},
                capture_output=True, text=True, timeout=200,
            )  # fmt: skip

        refused = run("--shared-folder", "--set", "resources.gpu=auto")
        assert (refused.returncode, "`resources.gpu` is auto" in refused.stderr) == (2, True), refused
        refused = run()
        assert (refused.returncode, "will start other nodes" in refused.stderr) == (2, True), refused
        done = run("--shared-folder")
        assert done.returncode == 0, done.stdout + done.stderr
        trials = load_study(tmp_path / "tiny").trials
        assert (len(trials), set(trials.gpus)) == (8, {0.25})
        assert set(trials.status) == {"completed"}
        wait_until(lambda: gpus() == [0], 90, every=1)
