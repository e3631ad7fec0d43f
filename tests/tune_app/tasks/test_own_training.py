"""Studies of a user's own training function, in a package outside the repository, without Ray."""

import json
import math
import subprocess
import sys
import time
import zipfile
from dataclasses import replace

import pandas as pd
import pytest
import yaml

from analysis import load_study
from analysis.report.facts import unfinished
from search_spaces.errors import StudyError
from search_spaces.plan import make_plan
from tests.support.own_code import STUDY, TRAIN, write_package
from tune_app.cli.report import report
from tune_app.studies import read_study
from tune_app.tuning.cell import CellRunner
from tune_app.tuning.jobs import Job
from tune_app.tuning.recorder import Recorder
from tune_app.tuning.rehearsal import _settings as rehearsal_settings
from tune_app.tuning.rehearsal import rehearse
from tune_app.tuning.runner import run_study
from tune_app.tuning.store.writer import ResultsStore
from tune_app.user_code import code_source
from tune_app.web.summaries import reason_of

pytestmark = pytest.mark.slow

CLI = [sys.executable, "-c", "from tune_app.cli import main; main()"]
FIGURES = ["digest", "seed", "train_loss", "val_loss", "test_loss", "parameters", "best_epoch", "status"]


def run(study, results, **options):
    return run_study(read_study(study), str(results), executor="inline", **options)


def figures(results):
    trials = pd.read_parquet(results / "own" / "trials")
    return trials.sort_values(["digest"])[FIGURES].reset_index(drop=True)


def test_a_training_function_is_planned_trained_and_reported(tmp_path):
    study = write_package(tmp_path)
    summary = run(study, tmp_path / "results")
    assert dict(summary.counts) == {"completed": 4}
    trials = pd.read_parquet(tmp_path / "results/own/trials")
    assert set(trials.task) == {"own_pkg.train:train"}
    assert trials.test_loss.between(0, 10).all()
    assert sorted(set(trials.parameters)) == [21, 41]
    epochs = pd.read_parquet(tmp_path / "results/own/epochs")
    assert len(epochs) == 16
    assert {"train_loss", "val_loss"} <= set(epochs.columns)
    assert "test_loss" not in epochs.columns
    best = epochs.loc[epochs.groupby("digest").val_loss.idxmin()].set_index("digest")
    assert (trials.set_index("digest").best_epoch == best.epoch).all()
    with zipfile.ZipFile(next((tmp_path / "results/own/code").glob("*.zip"))) as archive:
        assert archive.read("own_pkg/train.py").decode() == TRAIN
    results = load_study(tmp_path / "results/own")
    assert results.problems == ()
    assert set(results.arms) == {"width=4", "width=8"}


def test_a_run_killed_in_the_middle_ends_with_the_figures_of_an_undisturbed_one(tmp_path):
    slow = TRAIN.replace("        net.train()\n", "        net.train()\n        import time; time.sleep(0.05)\n")
    study = write_package(tmp_path, slow, baseline={"epochs": 20})
    run(study, tmp_path / "undisturbed")
    command = [*CLI, "run", str(study), "--inline", "--results", str(tmp_path / "killed")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    store = tmp_path / "killed/own"
    end = time.monotonic() + 200
    while not (list(store.glob("trials/*.parquet")) and list(store.glob("checkpoints/*/last.pt"))):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert len(list((tmp_path / "killed/own/trials").glob("*.parquet"))) < 4
    run(study, tmp_path / "killed")
    pd.testing.assert_frame_equal(figures(tmp_path / "killed"), figures(tmp_path / "undisturbed"))


def test_a_comment_retrains_nothing_and_a_changed_constant_says_so(tmp_path):
    study, results = write_package(tmp_path), tmp_path / "results"
    run(study, results)
    write_package(tmp_path, "# a comment\n\n" + TRAIN.replace("# a constant of the training", "# STEP"))
    assert run(study, results).trained == 0
    write_package(tmp_path, TRAIN.replace("STEP = 0.1", "STEP = 0.2"))
    said = subprocess.run(
        [*CLI, "plan", str(study), "--results", str(results)], capture_output=True, text=True, check=True
    ).stdout
    assert "the code changed" in said
    assert "4 cells to train again" in " ".join(said.split())
    assert len(figures(results)) == 4


def test_code_that_is_accepted_as_equivalent_keeps_its_cells(tmp_path):
    study, results = write_package(tmp_path), tmp_path / "results"
    run(study, results)
    before = figures(results)
    write_package(tmp_path, TRAIN.replace("loss.backward()", "(loss).backward()"))
    assert run(study, results, accept_code=True).trained == 0
    assert run(study, results).trained == 0
    pd.testing.assert_frame_equal(figures(results), before)
    accepted = json.loads((results / "own/code/accepted.json").read_text())
    assert len(list((results / "own/code").glob("*.zip"))) == 2
    assert set(accepted.values()) == set(pd.read_parquet(results / "own/trials").code)


def test_an_error_names_the_user_s_own_file_and_line_first(tmp_path):
    study = write_package(tmp_path, baseline={"args": {"fail": "raise"}, "epochs": 4}, max_failures=0)
    summary = run(study, tmp_path / "results")
    assert dict(summary.counts) == {"failed": 4}
    line = next(n for n, text in enumerate(TRAIN.splitlines(), 1) if "raise ValueError" in text)
    error = pd.read_parquet(tmp_path / "results/own/trials").error.iloc[0]
    assert error.splitlines()[0] == (
        f"own_pkg/train.py, line {line}, in train: ValueError: the data has no column 'age'"
    )
    assert "Traceback" in error


def test_an_error_in_code_that_travels_names_the_user_s_own_file_and_line_first(tmp_path):
    spec = read_study(write_package(tmp_path, baseline={"args": {"fail": "raise"}, "epochs": 4}))
    settings = replace(rehearsal_settings(spec, str(tmp_path / "results")), code=code_source(spec, ship=True))
    runner = CellRunner({}, settings)
    runner.begin(Job("arm", False, {}, spec.baseline, "f" * 16, 0.0))
    reports = [runner.step(), runner.step()]
    assert [report["status"] for report in reports] == ["running", "failed"]
    assert reports[1]["trial"]["error"].startswith("own_pkg/train.py, line ")


def test_a_metric_that_is_no_number_ends_the_trial_as_diverged(tmp_path):
    study = write_package(tmp_path, baseline={"args": {"fail": "nan"}, "epochs": 4})
    assert dict(run(study, tmp_path / "results").counts) == {"diverged": 4}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"val_loss": float("nan")', '"val_los": float("nan")', "the study needs 'val_loss' there .did you mean 'val_los'"),
        ('yield {"train_loss": loss,', 'yield {"test_loss": loss,', "'test_loss' in an epoch, but the test split"),
        ('yield context.final({"test_loss"', 'yield context.final({"test_los"', "the study needs 'test_loss' there"),
        ("context.epochs + 1", "context.epochs + 2", "yielded more than the 4 epochs"),
        ("context.load_best()", "yield 3", "yielded a int, but must yield a mapping"),
        ("net=net, opt=opt", "net=net, rate=0.1", "which has no state_dict"),
        ('"train_loss": loss,', '"train_loss": "high",', "as a str, but a metric must be a number"),
    ],
)  # fmt: skip
def test_a_mistake_in_what_is_yielded_is_named(tmp_path, old, new, message):
    assert old in TRAIN
    study = write_package(tmp_path, TRAIN.replace(old, new), seeds=1)
    run(study, tmp_path / "results")
    errors = pd.read_parquet(tmp_path / "results/own/trials").error
    assert errors.str.contains(message, regex=True).all(), errors.iloc[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": {"args": {"widht": 3}}}, "`baseline.args.widht` is 3, but own_pkg.train:train has no such parameter .did you mean 'width'"),
        ({"baseline": {"args": {"lr": "fast"}}}, "`baseline.args.lr` is 'fast', but must be a number"),
        ({"factors": {"args.width": [4, "eight"]}}, "`args.width` is 'eight', but must be a whole number .from `factors.args.width`"),
        ({"factors": {"args.widht": [4, 8]}}, "did you mean 'width'"),
        ({"task": {"run": "own_pkg.train:trian"}}, "own_pkg.train has no 'trian'"),
        ({"task": {"run": "own_pkgs.train:train"}}, "there is no module 'own_pkgs'"),
        ({"task": {"run": "train"}}, "`task.run` is 'train', but must be package.module:function"),
        ({"metric": "test_los"}, "did you mean 'test_loss'"),
        ({"metrics": {"test_loss": {"better": "lower"}}}, "`choose_by` is missing.*'val_loss' is not declared"),
        ({"metrics": {"val_loss": {"better": "lower"}, "test_loss": {}}}, "`metric` is 'test_loss', whose direction is not declared"),
        ({"choose_by": "test_loss"}, "neither the test split nor `seconds` takes part in a choice"),
        ({"metric": "seconds"}, "`choose_by` is missing: `metric` is 'seconds', which chooses no epoch; name another"),
        ({"choose_by": "seconds"}, "`choose_by` is 'seconds', but must be one of val_loss; neither the test split nor"),
        ({"metrics": {"seed": {"better": "lower"}}}, "`metrics.seed` is not a usable name"),
        ({"code": {"root": "nowhere"}}, "`code.root` is 'nowhere', but .* is no folder"),
        ({"code": {"include": ["*.txt"]}}, "which matches no file"),
        ({"baseline": {"seed": 3}}, "list seeds under `seeds`"),
        ({"baseline": {"run": "a:b"}}, "`baseline.run` is set by the program"),
    ],
)  # fmt: skip
def test_mistakes_in_a_study_of_own_code_name_place_value_and_remedy(tmp_path, changes, message):
    study = write_package(tmp_path)
    tree = {**STUDY, **changes}
    study.write_text(yaml.safe_dump(tree))
    with pytest.raises(StudyError, match=f"(?s){message}"):
        read_study(study)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "import nothing_of_this_name",
            "own_pkg/train.py, line 1, in <module>: ModuleNotFoundError: .*nothing_of_this",
        ),
        ("import os; os._exit(3)", r"ended its process \(exit code 3\)"),
        ("raise SystemExit(4)", r"ended its process \(exit code 4\)"),
        ("def train(config, context:", "own_pkg/train.py|SyntaxError"),
    ],
)
def test_code_that_cannot_be_imported_is_reported_and_harms_nobody(tmp_path, code, message):
    with pytest.raises(StudyError, match=f"(?s){message}"):
        read_study(write_package(tmp_path, code))


def test_code_that_hangs_on_import_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("tune_app.user_code.CHILD_SECONDS", 3.0)
    with pytest.raises(StudyError, match="did not finish importing or answering within 3 s"):
        read_study(write_package(tmp_path, "import time\nwhile True: time.sleep(1)"))


def test_asha_stops_a_training_function_and_tpe_finds_the_optimum(tmp_path):
    code = """
import math

def train(context, lr: float = 1.0):
    try:
        for epoch in range(1, context.epochs + 1):
            loss = (math.log10(lr) + 2) ** 2
            yield {"val_loss": loss + 1 / epoch}
        yield context.final({"test_loss": loss})
    finally:
        with open(FILE, "a") as file:
            file.write("x")
"""
    study = write_package(
        tmp_path,
        code.replace("FILE", repr(str(tmp_path / "ended"))),
        mode="search",
        baseline={"epochs": 9},
        factors=None,
        space={"args.lr": {"loguniform": [1e-6, 1.0]}},
        search={"searcher": "tpe", "trials": 40, "asha": {"grace_period": 1, "reduction_factor": 3}},
        seeds=1,
    )
    summary = run(study, tmp_path / "results")
    assert summary.counts["pruned"] > 10
    assert summary.counts["completed"] > 2
    assert (tmp_path / "ended").read_text() == "x" * 40  # `finally` ran in every trial, stopped or not
    results = load_study(tmp_path / "results/own")
    best = results.trials.loc[results.trials.val_loss.idxmin()]
    assert abs(math.log10(best["args.lr"]) + 2) < 0.3


def test_a_function_that_returns_one_mapping_is_a_training_of_one_epoch(tmp_path):
    code = "def train(width: int = 4):\n    return {'val_loss': 1 / width, 'test_loss': 2 / width}\n"
    study = write_package(tmp_path, code, baseline={"args": {}})
    run(study, tmp_path / "results")
    trials = pd.read_parquet(tmp_path / "results/own/trials")
    assert sorted(set(trials.test_loss)) == [0.25, 0.5]
    assert set(trials.epochs_trained) == {1}


REHEARSALS = {
    "good": (TRAIN, "the same figures twice, and after an interruption"),
    "not registered": (TRAIN.replace("net=net, opt=opt", "net=net"), "a restarted run differs"),
    "not deterministic": (
        TRAIN.replace("from dataclasses", "import os\nfrom dataclasses", 1).replace(
            "else val}", "else val + int.from_bytes(os.urandom(4), 'big')}"
        ),
        "not deterministic: epoch 1 val_loss",
    ),
    "broken": (TRAIN.replace("net.train()", "net.trian()"), "failed: own_pkg/train.py, line"),
    "a figure that is not a number": (
        TRAIN.replace('"train_loss": loss', "\"train_loss\": float('nan')"),
        "trains; the same figures",
    ),
    "diverges": (
        TRAIN.replace('config.fail == "nan"', "True"),
        "diverges (a figure is not finite); the same figures twice",
    ),
}
PASSED = ("good", "a figure that is not a number", "diverges")


@pytest.mark.parametrize("kind", REHEARSALS)
def test_a_rehearsal_says_whether_figures_repeat_and_survive_an_interruption(tmp_path, kind):
    code, message = REHEARSALS[kind]
    found = list(rehearse(read_study(write_package(tmp_path, code))))
    assert [finding.passed for finding in found] == [kind in PASSED] * 2
    assert all(message in finding.text for finding in found), found


def test_the_cells_of_a_study_are_the_same_when_its_store_is_read(tmp_path):
    study = write_package(tmp_path)
    run(study, tmp_path / "results")
    planned = {cell.digest for cell in make_plan(read_study(study)).cells}
    assert {digest for digest, _ in ResultsStore(str(tmp_path / "results"), "own").finished()} == planned


def test_a_run_leaves_its_live_state_as_ended(tmp_path):
    study = write_package(tmp_path)
    run(study, tmp_path / "results")
    live = json.loads((tmp_path / "results/own/live.json").read_text())
    assert live["running"] == []
    assert live["counts"] == {"completed": 4}
    assert live["total"] == 4


@pytest.mark.parametrize("content", [b"{", b"[" * 50_000, b"[]", b"\xff", b"9" * 3_000_000])
def test_a_damaged_list_of_accepted_code_is_a_mistake_with_its_place(tmp_path, content):
    study = write_package(tmp_path)
    ResultsStore(str(tmp_path / "results"), "own").folder.write("code/accepted.json", content)
    with pytest.raises(StudyError, match=r"code/accepted\.json"):
        run(study, tmp_path / "results")


HANGS = "\nimport time\n_plain = train\n\n\ndef train(config: Config, context):\n    yield from slowly(_plain(config, context))\n"
HANGS += "\n\ndef slowly(epochs):\n    for epoch in epochs:\n        time.sleep(0.3)\n        yield epoch\n"


def test_an_inline_trial_that_is_silent_for_too_long_is_said_with_its_place(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("tune_app.tuning.watchdog.START_SECONDS", 0.0)
    study = write_package(tmp_path, TRAIN + HANGS, seeds=1, trial_timeout=0.05, baseline={"epochs": 1})
    summary = run(study, tmp_path / "results")
    assert dict(summary.counts) == {"completed": 2}
    said = capfd.readouterr().err
    assert "seed 0: no report for 0 s (`trial_timeout`). A run with --inline cannot end it" in said
    assert "train.py" in said
    assert "in slowly" in said


LOGS = TRAIN.replace("        net.train()\n", '        context.log("epoch", epoch, "x" * 300)\n        net.train()\n')


def test_lines_of_the_log_are_kept_bounded_and_shown(tmp_path, capsys):
    study = write_package(tmp_path, LOGS, seeds=1, baseline={"args": {"lr": 0.05}, "epochs": 120})
    run(study, tmp_path / "results")
    trials = load_study(tmp_path / "results/own").trials
    for lines in trials.log_lines.str.split("\n"):
        assert [line.split(" ")[1] for line in lines] == [str(epoch) for epoch in range(21, 121)]
        assert {len(line) for line in lines} == {200}
    capsys.readouterr()
    digest = trials.digest[0]
    report(str(study), results=str(tmp_path / "results"), log=digest[:10])
    out = capsys.readouterr().out
    assert out.startswith(f"{trials.arm[0]}, seed 0:\nepoch 21 xxx")
    assert out.count("\n") == 101
    assert not (tmp_path / "results/own/report").exists()
    with pytest.raises(StudyError, match="`--log` is '', which is the beginning of 2 digests"):
        report(str(study), results=str(tmp_path / "results"), log="")


def test_an_error_has_the_last_lines_of_the_log(tmp_path):
    study = write_package(tmp_path, LOGS, seeds=1, max_failures=0, factors={"args.fail": ["", "raise"]})
    run(study, tmp_path / "results")
    failed = load_study(tmp_path / "results/own").trials.set_index("status").loc["failed"]
    first, rest = failed.error.split("\n", 1)
    assert first.endswith("in train: ValueError: the data has no column 'age'")
    assert "The last lines of context.log:\nepoch 1 xxx" in rest
    assert str(failed.error).count("The last lines") == 1
    reason, place = reason_of(failed.to_dict() | {"status": "failed"})
    assert (reason, place.split(", ")[0]) == ("ValueError: the data has no column 'age'", first.split(", ")[0])
    (listed,) = unfinished(load_study(tmp_path / "results/own"))
    assert listed["why"] == first


def test_lines_written_before_an_interruption_stay(tmp_path, monkeypatch):
    logs_early = LOGS.replace('context.log("epoch", epoch', 'epoch == 1 and context.log("epoch", epoch')
    study = write_package(tmp_path, logs_early, seeds=1)
    monkeypatch.setattr("tune_app.tuning.runner.REPORT_SECONDS", 0.0)
    monkeypatch.setattr(Recorder, "use", lambda self, usage: self.interrupt())
    assert run(study, tmp_path / "results").interrupted
    monkeypatch.undo()
    assert run(study, tmp_path / "results").trained == 2
    assert load_study(tmp_path / "results/own").trials.log_lines.str.startswith("epoch 1 ").all()


def test_an_inline_run_ends_when_its_process_has_lost_the_gpu(tmp_path):
    broken = TRAIN.replace("net.train()\n", 'raise RuntimeError("CUDA error: an illegal memory access")\n')
    study = write_package(tmp_path, broken, seeds=1)
    with pytest.raises(StudyError, match=r"this process cannot use its GPU any more.*run the same command again"):
        run(study, tmp_path / "results")
