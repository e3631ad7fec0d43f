"""`probes.train_clean` from the study to the store, the claims and the report."""

import re

import pytest

from analysis import claims, load_study, write_report
from search_spaces.plan import make_plan
from search_spaces.study_files import study_from
from tune_app.tuning.runner import run_study


def test_clean_training_figures_reach_store_claims_and_report_and_change_no_digest(tiny_tree, tmp_path):
    claim = {
        "text": "t",
        "arm": "norm=none",
        "against": "norm=batch",
        "expect": "better",
        "metric": "clean_accuracy_gap",
    }
    tree = tiny_tree | {"reference": {"source": "A", "table": "Table 1", "claims": [claim]}}
    probed = study_from(tree | {"probes": {"train_clean": True}})
    assert {c.digest for c in make_plan(probed).cells} == {c.digest for c in make_plan(study_from(tree)).cells}
    run_study(study_from(tree | {"seeds": 1}), str(tmp_path), executor="inline")
    (before,) = claims(load_study(tmp_path / "tiny")).itertuples()
    assert "`probes: {train_clean: true}` measures it" in before.words
    run_study(probed, str(tmp_path), executor="inline")
    results = load_study(tmp_path / "tiny")
    trials = results.trials.set_index(["arm", "seed"])
    assert results.problems == ()
    assert trials.train_clean_accuracy.isna().groupby("seed").all().to_dict() == {0: True, 1: False}
    last = results.epochs.dropna(subset=["train_clean_loss"])
    assert set(last.epoch) == {probed.baseline.epochs}
    for row in last.itertuples():
        trial = trials.loc[row.arm, row.seed]
        if trial.best_epoch == row.epoch:
            assert trial.train_clean_loss == pytest.approx(row.train_clean_loss)
    assert (claims(results).n == 1).all()
    page = write_report(results, tmp_path / "page.html").read_text(encoding="utf-8")
    (table,) = re.findall(r'id="clean".*?</table>', page, re.DOTALL)
    assert "training accuracy without augmentation" in table.lower()
    gap = trials.train_clean_accuracy - trials.val_accuracy
    assert f"{100 * gap['norm=none', 1]:.2f}%" in table
