"""A store on a real S3 server on loopback (moto), through a gate that refuses, delays or is closed."""

import json
import os
import socket
import subprocess
import sys
import threading

import pytest
import s3fs
from botocore.retries.standard import ExponentialBackoff
from drivers import CLI, driver, study, undisturbed, wait_until

from analysis import load_study
from search_spaces.errors import StudyError
from search_spaces.study_files import study_from
from tests.support.s3_gate import free_port, moto_server, open_gate
from tune_app import s3_requests, storage
from tune_app.storage import Folder, StorageError
from tune_app.tuning.runner import run_study
from tune_app.tuning.store.lease import EXPIRY_SECONDS, FRESH_SECONDS, LEASE, Lease
from tune_app.tuning.store.locks import hold
from tune_app.tuning.store.writer import ResultsStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server():
    with moto_server() as port:
        yield port


@pytest.fixture
def gate(server, monkeypatch):
    with open_gate(server, monkeypatch) as made:
        yield made


@pytest.fixture
def no_backoff(monkeypatch):
    """Let botocore ask again as often as it would, without the seconds to minutes that it waits in between."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda self, context: 0.0)


@pytest.mark.cluster  # two whole runs
def test_a_study_on_s3_is_trained_killed_resumed_and_reported(gate, tmp_path):
    tree = study(epochs=3, seeds=1)
    url = "s3://bucket/results"
    with driver(tree, tmp_path, "--results", url) as run:
        wait_until(lambda: any("/trials/" in path for path in gate.written) or run.process.poll() is not None)
        run.kill()
    first = set(load_study(f"{url}/tiny").trials.digest)
    assert first
    gate.written.clear()
    with driver(tree, tmp_path, "--results", url) as run:
        code, out = run.wait()
    assert code == 0, out
    assert not any(digest in path for digest in first for path in gate.written)
    results = load_study(f"{url}/tiny")
    assert results.problems == ()
    rows = {row["digest"]: row["test_loss"] for row in results.trials.to_dict("records")}
    assert rows == {digest: row["test_loss"] for digest, row in undisturbed(tree).items()}
    assert sorted(Folder(f"{url}/tiny/checkpoints").names()) == sorted(
        f"{d}-{results.trials.fingerprint[0]}" for d in rows
    )
    report = subprocess.run(
        [*CLI, "report", "tiny", "--results", url, "--out", str(tmp_path / "page.html")],
        capture_output=True, text=True, env=dict(os.environ),
    )  # fmt: skip
    assert report.returncode == 0, report.stderr
    assert (tmp_path / "page.html").stat().st_size > 10_000


def test_a_server_that_refuses_for_now_is_asked_again(gate):
    folder = Folder("s3://bucket/slow")
    gate.refuse = 3
    folder.write("x", b"content")
    assert gate.refused == 3
    gate.delay = 0.3
    assert folder.read("x") == b"content"
    folder.write("y", b"")
    gate.refuse = 1
    folder.remove_files(["x", "y"])
    assert folder.names() == []


def test_a_server_that_goes_on_refusing_is_told_with_url_and_remedy_and_nothing_is_there(gate, no_backoff):
    folder = Folder("s3://bucket/refused")
    folder.filesystem.retries = 1  # s3fs's own rounds, on top of botocore's: two minutes in all
    gate.refuse = 10_000
    with pytest.raises(StorageError, match=r"s3://bucket/refused cannot be written: .*check the address, the cred"):
        folder.write("x", b"content")
    assert gate.refused >= 10, "botocore's attempts"
    gate.refuse = 0
    assert folder.names() == []


def test_nobody_there_is_said_before_anything_is_trained(gate, no_backoff, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StudyError, match=r"s3://bucket/results/tiny cannot be written: .*AWS_ENDPOINT_URL"):
        run_study(study_from(study()), "s3://bucket/results")


def test_a_bucket_that_is_not_there_is_the_users_mistake(gate):
    with pytest.raises(StudyError, match=r"s3://no-such-bucket/tiny cannot be written"):
        ResultsStore("s3://no-such-bucket", "tiny").prepare()


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(StudyError, match="gs:// needs `pip install gcsfs`"):
        Folder("gs://bucket/results")


HASTY = {"retries": {"mode": "standard", "max_attempts": 2}, "connect_timeout": 1, "read_timeout": 0.3}


def test_a_server_that_never_answers_ends_a_request(gate, monkeypatch):
    monkeypatch.setattr(storage, "_S3", HASTY)
    s3fs.S3FileSystem.clear_instance_cache()
    gate.delay = 3600
    with pytest.raises(StorageError, match=r"s3://bucket/silent cannot be read: .*[Tt]ime"):
        Folder("s3://bucket/silent").read("x")


@pytest.mark.parametrize("size", [10, 10_000_000])
def test_a_put_to_a_server_that_reads_nothing_ends_after_all_attempts(size, gate, monkeypatch):
    """It does not even answer `100 Continue`, and a large body does not fit into the buffers of the connection."""
    monkeypatch.setattr(storage, "_S3", HASTY)
    monkeypatch.setattr(storage, "_ROUNDS", 1)
    monkeypatch.setattr(s3_requests, "SLOWEST_UPLOAD", 10_000_000)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        s3fs.S3FileSystem.clear_instance_cache()
        with pytest.raises(StorageError, match=r"s3://bucket/silent cannot be written: .*[Tt]ime"):
            Folder("s3://bucket/silent").write("x", bytes(size))


class Clock:
    """A clock that moves when somebody sleeps; ``meanwhile`` is called before."""

    def __init__(self, meanwhile=lambda: None):
        self.now, self.meanwhile = 0.0, meanwhile

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.meanwhile()
        self.now += seconds


@pytest.fixture(params=["s3://bucket/leased", "disk"])
def place(gate, request, tmp_path):
    folder = Folder(request.param if "://" in request.param else tmp_path)
    yield folder
    folder.remove(LEASE)


def elsewhere(lease):
    """Return a lease as a run on another machine would write it, whose process nobody here can look for."""
    plain = lease._content
    lease._content = lambda: json.dumps(json.loads(plain()) | {"host": "other", "who": "process 7 on other"}).encode()
    return lease


def test_of_two_runs_that_take_a_lease_one_has_it(place):
    first = elsewhere(Lease(place))
    first.acquire()
    clock = Clock(meanwhile=first.renew)
    with pytest.raises(StudyError, match=r"is in use by process 7 on other; wait until that run ends"):
        Lease(place, clock).acquire(clock.sleep)
    assert clock.now < EXPIRY_SECONDS
    first.require()
    first.release()
    assert not place.exists(LEASE)
    Lease(place).acquire(pytest.fail)


def test_a_lease_that_nobody_renews_is_taken_over_and_its_holder_may_write_no_more(place):
    time = Clock()
    first, second = elsewhere(Lease(place, time)), Lease(place, time)
    first.acquire()
    second.acquire(time.sleep)
    assert time.now > EXPIRY_SECONDS
    second.require()
    time.now += 2 * FRESH_SECONDS
    with pytest.raises(StorageError, match=r"the lease on .* was taken over by process \d+ on "):
        first.require()
    first.release()
    second.renew()
    second.require()


def test_a_lease_of_a_process_that_ended_here_is_taken_over_at_once(place):
    code = "import os; from tune_app.storage import Folder; from tune_app.tuning.store.lease import Lease\n"
    code += f"Lease(Folder({place.url!r})).acquire(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert place.exists(LEASE)
    Lease(place).acquire(pytest.fail)


def test_a_damaged_lease_expires_as_any_other(place):
    place.write(LEASE, b"\x00" * 10)
    time = Clock()
    Lease(place, time).acquire(time.sleep)
    assert time.now > EXPIRY_SECONDS


def test_a_lease_survives_a_server_that_is_away_for_a_while(gate, no_backoff):
    folder = Folder("s3://bucket/away")
    lease = Lease(folder, clock := Clock())
    lease.acquire()
    folder.filesystem.retries, gate.refuse = 1, 10_000
    clock.now += 1000
    lease.renew()
    assert gate.refused, "the server was asked"
    gate.refuse = 0
    lease.require()


def test_of_many_that_create_one_file_at_once_one_succeeds(place):
    created = []
    threads = [
        threading.Thread(target=lambda i=i: created.append(place.create("one", b"%d" % i) and i)) for i in range(1, 9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [each for each in created if each]
    assert place.read("one") == b"%d" % winner
    version = place.version("one")
    assert place.replace("one", b"next", version)
    assert not place.replace("one", b"late", version)
    assert place.read("one") == b"next"
    place.remove("one")


def test_a_run_that_lost_its_store_writes_no_row(gate, tmp_path):
    store = ResultsStore("s3://bucket/two", "tiny")
    with hold(store.folder) as lease:
        store.require_held = lease.require
        store.folder.write(LEASE, b'{"token": "another", "who": "process 7 on other"}')
        lease._renewed -= 2 * FRESH_SECONDS
        with pytest.raises(StorageError, match="taken over by process 7 on other"):
            store.write_trial({"digest": "d", "fingerprint": "f"}, {})
    assert (store.folder / "trials").names() == []
    assert store.folder.exists(LEASE), "the lease of another run stays"
