from __future__ import annotations

from pathlib import Path

import pytest

from search_spaces.errors import StudyError
from search_spaces.plan import make_plan
from search_spaces.study_files import read_study, ready_studies

TEXT = """
name: mine
baseline:
  model: {depth: 8}
factors:
  model.norm: [batch, group, layer]
design: full_factorial
seeds: 2
sizes:
  small: {epochs: 2, factors.model.norm: [batch, group], seeds: 1}
  empty: {}
reference:
  source: B
  figures:
    - {arm: norm=group, value: 0.8684}
    - {arm: norm=layer, value: 0.8711}
  claims:
    - {text: group is worse, arm: norm=group, against: norm=batch, expect: worse}
    - {text: layer is worse, arm: norm=layer, against: norm=batch, expect: worse}
    - {text: the same, arm: norm=batch, against: norm=layer, expect: equivalent}
"""
SEARCH = """
name: hunt
mode: search
space: [normalization]
"""


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT)
    return path


def refusal(*arguments) -> str:
    with pytest.raises(StudyError) as error:
        read_study(*arguments)
    return str(error.value)


def test_a_study_is_read_from_a_file(file):
    spec = read_study(file)
    assert (spec.name, spec.baseline.model.depth, spec.seeds) == ("mine", 8, (0, 1))
    assert read_study(str(file)) == spec


def test_a_ready_study_is_read_by_name():
    assert read_study("quickstart").name == "quickstart"
    assert "quickstart" in ready_studies()


def test_a_size_overrides_the_file_and_set_overrides_the_size(file):
    spec = read_study(file, "small", ["epochs=3", "model.depth=14"])
    assert (spec.baseline.epochs, spec.baseline.model.depth, spec.seeds) == (3, 14, (0,))
    assert spec.factors == {"model.norm": ["batch", "group"]}
    assert read_study(file, "empty") == read_study(file)


def test_the_reference_keeps_to_the_arms_that_overrides_leave(file):
    assert len(read_study(file).reference.figures) == 2
    small = read_study(file, "small")
    assert [figure.arm for figure in small.reference.figures] == ["norm=group"]
    assert [claim.arm for claim in small.reference.claims] == ["norm=group"]
    arms = {arm.name for arm in make_plan(small).arms}
    assert {arm for _, arm in small.reference.named_arms()} <= arms


def test_a_factor_is_added_changed_and_taken_away_by_overrides(file):
    assert read_study(file, None, ["factors.batch_size=[8]"]).factors["batch_size"] == [8]
    only = read_study(file, None, ["factors.batch_size=[8]", "factors.model.norm=null"])
    assert only.factors == {"batch_size": [8]}


def test_overrides_add_to_names_from_the_catalog(tmp_path):
    path = tmp_path / "hunt.yaml"
    path.write_text(SEARCH)
    spec = read_study(path, None, ["space.optimizer.lr={loguniform: [1e-3, 1]}", "search.asha=null"])
    assert list(spec.space) == ["model.norm", "optimizer.lr"]
    assert spec.search.asha is None
    path.write_text("name: a\nfactors: [depth]")
    assert list(read_study(path, None, ["factors.batch_size=[8]"]).factors) == ["model.depth", "batch_size"]


def test_overrides_reach_into_what_the_file_leaves_out_or_shortens(file):
    spec = read_study(file, None, ["probes.norm_inputs=true", "design.generator=4", "baseline.batch_size=8"])
    assert (spec.probes.norm_inputs, spec.design.generator, spec.baseline.batch_size) == (True, 4, 8)
    assert spec.design.kind == "full_factorial"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs", "`--set epochs` must be path=value"),
        ("epochs=", "`baseline.epochs` is null, but must be a whole number"),
        ("model.nrom=batch", "`baseline.model.nrom` is not a known key (did you mean 'norm'?)"),
        ("lr=0.1", "`lr` is not a known key (did you mean 'baseline.optimizer.lr'?)"),
        ("model..norm=batch", "`baseline.model..norm` is not a path"),
        ("name.x=1", "`name.x` cannot be set: `name` is 'mine', not a mapping"),
        ("factors.model.nrom=[a]", "`factors.model.nrom` is not a field"),
        ("factors.model.norm=null", "`factors` is {}, but must be given and not empty"),
        ("model.norm=[", "not valid YAML"),
        ("seed=3", "list seeds under `seeds`"),
    ],
)
def test_wrong_overrides_are_told_with_file_and_option(file, override, message):
    text = refusal(file, None, [override])
    assert text.startswith(f"{file} with --set {override}: ")
    assert message in text


def test_unknown_sizes_are_told_with_those_there_are(file):
    assert "`--size` is 'smal', but this study has small, empty (did you mean 'small'?)" in refusal(file, "smal")
    file.write_text("name: x\nfactors: [depth]")
    assert "this study has none" in refusal(file, "small")


def test_a_mistake_in_a_size_is_told_with_the_size_chosen_or_not(file):
    file.write_text(TEXT.replace("epochs: 2", "epohcs: 2"))
    for size in (None, "small"):
        message = refusal(file, size)
        assert message.startswith(f"{file} with --size small: ")
        assert "`epohcs` is not a known key (did you mean 'baseline.epochs'?)" in message


def test_a_study_that_is_nowhere_is_told_with_the_nearest_ready_one():
    assert "(did you mean 'quickstart'?)" in refusal("quickstrat")
    assert "cannot be read: File name too long" in refusal("x" * 5000)
    assert "neither a file" in refusal("a\x00b")
    assert "neither a file" in refusal("")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty, but must be a mapping with `name`"),
        ("# only a comment", "is empty"),
        ("- a\n- b", 'is ["a", "b"], but must be a mapping'),
        ("just words", "is 'just words', but must be a mapping"),
        ("name: x\n  y: 2", "line 2, column 4: not valid YAML"),
        ("baseline: {}", "`name` is missing"),
    ],
)
def test_files_that_hold_no_study_are_refused_with_their_name(file, text, message):
    file.write_text(text)
    assert refusal(file).startswith(str(file))
    assert message in refusal(file)


def test_an_override_does_not_reach_what_an_alias_repeats(file):
    file.write_text("name: x\nbaseline: {optimizer: &o {lr: 0.2}}\nsizes: {s: {optimizer: *o}}\nfactors: [depth]")
    assert read_study(file, None, ["optimizer.lr=0.3"]).sizes["s"]["optimizer"] == {"lr": 0.2}


READY = [(name, size) for name in ready_studies() for size in (None, *read_study(name).sizes)]


@pytest.mark.parametrize(("name", "size"), READY)
def test_every_ready_study_is_right_in_every_size(name, size):
    spec = read_study(name, size)
    assert spec.name == name
    assert spec.question.endswith("?")
    if spec.mode == "ablation":
        plan = make_plan(spec)
        assert len({cell.digest for cell in plan.cells}) == len(plan.cells)
        each = spec.tune.trials if spec.tune else 1
        assert len(plan.cells) == len(plan.arms) * len(spec.seeds) * each
    else:
        assert spec.search_space().domains


def test_choose_by_is_overridden_for_the_study_and_with_it_for_its_configs(file):
    spec = read_study(file, None, ["choose_by=val_loss"])
    assert (spec.choose_by, spec.baseline.choose_by) == ("val_loss", "val_loss")
