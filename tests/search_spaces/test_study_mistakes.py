from __future__ import annotations

import re
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.config.trial import field_paths
from search_spaces.errors import StudyError, dotted, headline, nearest, shown
from search_spaces.study_files import names_at, study_from, study_from_store, trial_from

STUDY = {"name": "x", "factors": {"model.norm": ["batch", "group"]}}
SEARCH = {"name": "x", "mode": "search", "space": {"batch_size": [8, 16]}}
INTERNALS = re.compile(
    r"union|function-|pydantic|valid (dict|int|str|tuple|list)|instance of|kind='|object at|\[key\]|Error\("
)


def refusal(tree) -> str:
    with pytest.raises(StudyError) as error:
        study_from(tree)
    assert not INTERNALS.search(str(error.value))
    return str(error.value)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"nme": 3}, "`nme` is not a known key (did you mean 'name'?); allowed here: baseline, "),
        ({"model": {}}, "`model` is not a known key (did you mean 'baseline.model'?)"),
        ({"baseline": {"lr": 1}}, "`baseline.lr` is not a known key (did you mean 'baseline.optimizer.lr'?)"),
        ({"baseline": {"model": {"nrom": 1}}}, "`baseline.model.nrom` is not a known key (did you mean 'norm'?)"),
        ({"baseline": {1: 2}}, "`baseline` has the key 1, but keys must be words"),
        ({"baseline": None}, "`baseline` is null, but must be a mapping with keys such as augmentation, "),
        ({"baseline": [1]}, "`baseline` is [1], but must be a mapping"),
        ({"baseline": {"model": {"norm": "grup"}}}, "'grup', but must be one of none, batch, torch_batch, instance, "),
        ({"baseline": {"model": {"norm": "grup"}}}, "(did you mean 'group'?)"),
        ({"baseline": {"model": {"norm": False}}}, "`baseline.model.norm` is false, but must be one of"),
        ({"baseline": {"model": {"depth": 21}}}, "`baseline.model.depth` is 21, but must be 6n+2 for a resnet"),
        ({"baseline": {"model": {"depth": "20"}}}, "`baseline.model.depth` is '20', but must be a whole number"),
        ({"baseline": {"model": {"blocks": [2.0]}}}, "`baseline.model.blocks[0]` is 2.0, but must be a whole number"),
        ({"baseline": {"model": {"blocks": 2}}}, "`baseline.model.blocks` is 2, but must be a list: [a, b]"),
        ({"baseline": {"augmentation": {"flip": "no"}}}, "`baseline.augmentation.flip` is 'no', but must be true or"),
        ({"baseline": {"batch_size": -1}}, "`baseline.batch_size` is -1, but must be at least 1"),
        ({"baseline": {"batch_size": 10**30}}, "but must be at most 65,536"),
        ({"baseline": {"data": {"train_size": 10**400}}}, "0..., but must be at most"),
        ({"baseline": {"optimizer": {"lr": float("nan")}}}, "is .nan, but must be a finite number"),
        ({"baseline": {"optimizer": {"lr": -float("inf")}}}, "is -.inf, but must be a finite number"),
        ({"baseline": {"optimizer": {"lr": 0}}}, "`baseline.optimizer.lr` is 0, but must be above 0"),
        ({"baseline": {"optimizer": {"momentum": 1}}}, "but must be below 1"),
        ({"baseline": {"seed": 3}}, "`baseline.seed` is 3, but must be left out: list seeds under `seeds`"),
        ({"baseline": {"epochs": 2, "schedule": {"warmup_epochs": 2}}}, "`baseline.schedule.warmup_epochs` is 2.0"),
        ({"name": "../x"}, "`name` is '../x', but must be 1 to 64 of a-z"),
        ({"name": "x\n"}, r"`name` is 'x\n', but must be"),
        ({"name": 3}, "`name` is 3, but must be text"),
        ({"question": None}, "`question` is null, but must be text"),
        ({"sequential": 20}, "`sequential` is 20, but must be true, false, or a mapping with keys such as looks, "),
        ({"sequential": {"looks": [4, 3]}}, "`sequential.looks` is [4, 3], but must be increasing numbers of seeds, "),
        ({"sequential": {"looks": [1, 5]}}, "`sequential.looks` is [1, 5], but must be increasing numbers of seeds, "),
        (
            {"sequential": {"looks": []}},
            "`sequential.looks` is [], but must be increasing numbers of seeds, each 2 or ",
        ),
        ({"sequential": {"looks": [4, 9]}}, "`sequential.looks` is [4, 9], but must be at most 5, the number of seeds"),
        ({"sequential": {"spending": "pokock"}}, "(did you mean 'pocock'?)"),
        ({"sequential": {"futility": 1.5}}, "`sequential.futility` is 1.5, but must be below 1"),
        ({"sequential": {"look": [4]}}, "`sequential.look` is not a known key (did you mean 'looks'?)"),
        ({"sequential": True, "seeds": 1}, "`seeds` is [0], but must be 2 or more with `sequential`"),
        ({"metric": "test_acuracy"}, "(did you mean 'test_accuracy'?)"),
        ({"rope": -1}, "`rope` is -1, but must be at least 0"),
        ({"mode": "serch"}, "(did you mean 'search'?)"),
        ({"seeds": []}, "`seeds` is [], but must be 1 to 10,000 seeds"),
        ({"seeds": 0}, "`seeds` is 0, but must be a number of seeds from 1 to 10,000"),
        ({"seeds": True}, "`seeds` is true, but must be a number of seeds"),
        ({"seeds": 2.5}, "`seeds` is 2.5, but must be a number of seeds"),
        ({"seeds": None}, "`seeds` is null, but must be a number of seeds"),
        ({"seeds": [1, 2, 1]}, "but must be a list of different seeds (repeated: 1)"),
        ({"seeds": [-1]}, "each from 0 to 4,294,967,295"),
        ({"seeds": [2**32]}, "each from 0 to 4,294,967,295"),
        ({"seeds": [True]}, "`seeds[0]` is true, but must be a whole number"),
        ({"keep": ["worst"]}, "`keep[0]` is 'worst', but must be one of best, last"),
        ({"resources": {"gpu": 1.5}}, "`resources.gpu` is 1.5, but must be a share from 0 to 1"),
        ({"resources": {"gpu": [1]}}, "`resources.gpu` is [1], but must be a share"),
        ({"resources": {"gpu": float("inf")}}, "`resources.gpu` is .inf, but must be a share"),
        ({"sizes": {1: {}}}, "`sizes` has the key 1, but keys must be text (quote it)"),
        ({"sizes": {"small": None}}, "`sizes.small` is null, but must be a mapping"),
        ({"sizes": [1]}, "`sizes` is [1], but must be a mapping"),
        ({"design": 3}, "`design` is 3, but must be a mapping with keys such as generator, kind"),
        ({"design": "full_factorail"}, "`design.kind` is 'full_factorail', but must be one of"),
        ({"design": {"generator": 2}}, "`design.generator` is 2, but must be words of letters"),
        ({"factors": None}, "`factors` is null, but must be given and not empty"),
        ({"factors": []}, "`factors` is {}, but must be given and not empty"),
        ({"factors": "a"}, "`factors` is 'a', but must be a mapping from fields to values, or a list of names"),
        ({"factors": {1: ["a"]}}, "`factors` has the key 1, but keys must be text"),
        ({"factors": [3]}, "`factors` names 3, which is not in the catalog"),
        ({"factors": ["normalisation"]}, "(did you mean 'normalization'?)"),
        ({"factors": ["learning_rate"]}, "'learning_rate', a continuous range that only a search can use"),
        ({"factors": {"model.nrom": [1]}}, "`factors.model.nrom` is not a field of a trial config (did you mean"),
        ({"factors": {"seed": [1]}}, "`factors.seed` cannot be varied: list seeds under `seeds`"),
        ({"factors": {"data.path": ["a"]}}, "`factors.data.path` cannot be varied"),
        ({"factors": {"model.norm": []}}, "`factors.model.norm` is [], but must be a list of at least one value"),
        ({"factors": {"model.norm": "batch"}}, "`factors.model.norm` is 'batch', but must be a list of levels"),
        ({"factors": {"model.norm": None}}, "`factors.model.norm` is null, but must be a list of levels"),
        ({"factors": {"model.norm": ["group", "group"]}}, "without duplicates ('group' is given twice)"),
        ({"factors": {"model.norm": ["batch"]}}, "has only the baseline's own level 'batch'"),
        ({"factors": {"model.norm": [["a"]]}}, '`model.norm` is ["a"], but must be one of'),
        ({"factors": {"model.depth": [8, 21]}}, "`model.depth` is 21, but must be 6n+2"),
        ({"factors": {"model.norm": {}}}, "`factors.model.norm` has 0 levels, but must have 1 to"),
        ({"factors": {"recipe": {"a": 3}}}, "`factors.recipe.a` is 3, but must map fields to values"),
        ({"factors": {"recipe": {"a": {"model.x": 3}}}}, "`factors.recipe.a.model.x` is not a field"),
        ({"factors": {"recipe": {"a": {3: 3}}}}, "`factors.recipe.a.3` is not a field"),
        ({"factors": {"recipe": {1: {}}}}, "`factors.recipe` has a level 1, but a level's name must be text"),
        ({"factors": {" ": {"a": {}}}}, "`factors` has the name ' ', but a name must be of 1 to 64 characters"),
        ({"factors": {"r": {"baseline": {"model.norm": "group"}}}}, "that differs from the baseline; rename it"),
        (
            {"factors": {"model.norm": ["batch", "group"], "r": {"a": {"model.norm": "layer"}}}},
            "`factors.model.norm` and `factors.r` both set model.norm",
        ),
        ({"factors": {"model.groups": [8, 16]}}, "would train the very same thing"),
        ({"factors": {"optimizer.lr": [1, 1.0]}}, "would train the very same thing"),
        (
            {"search": {"trials": 3}},
            "`search` is given, but has no effect in a study of mode ablation; leave it out, or",
        ),
        ({"space": {"batch_size": [1]}}, '`space` is ["batch_size"], but must be left out in a study of mode ablation'),
        ({"reference": {"source": "Z"}}, "`reference.source` is 'Z', but must be one of A, B, C, D, E"),
        ({"reference": {"source": "A", "figures": [{"arm": "x"}]}}, "`reference.figures[0].value` is missing"),
        ({"reference": {"source": "A", "figures": [{"arm": "norm=grop", "value": 0}]}}, "(did you mean 'norm=group'?)"),
        (
            {"reference": {"source": "A", "figures": [{"arm": "norm=group", "value": 89.57}]}},
            "`reference.figures[0].value` is 89.57, but must be a fraction from 0 to 1",
        ),
        (
            {"reference": {"source": "A", "figures": [{"arm": "norm=group", "value": 0, "metric": "accuracy"}]}},
            "`reference.figures[0].metric` is 'accuracy', but must be one of",
        ),
        (
            {"reference": {"source": "A", "claims": [{"text": "", "arm": "a", "against": "a", "expect": "better"}]}},
            "`reference.claims[0].against` is 'a', but must be another arm",
        ),
        (
            {"reference": {"source": "A", "claims": [{"text": "", "order": ["a", "b"], "expect": "order"}]}},
            '`reference.claims[0].order` is ["a", "b"], but must be three different arms or more',
        ),
        (
            {"reference": {"source": "A", "claims": [{"text": "", "order": ["a", "b", "c"], "expect": "better"}]}},
            '`reference.claims[0].order` is ["a", "b", "c"], but must be given where `expect` is order, and only there',
        ),
        (
            {"reference": {"source": "A", "claims": [{"text": "", "order": ["a", "b", "c"], "expect": "order"}]}},
            "`reference.claims[0].order[0]` is 'a', which is not an arm of this study",
        ),
        (
            {"reference": {"source": "A", "claims": [{"text": "", "arm": "a", "expect": "better"}]}},
            "`reference.claims[0].arm` is 'a', but must be given, as `against` must be",
        ),
        (
            {"reference": {"source": "A", "claims": [{"text": "", "arm": "b", "against": "a", "expect": "better"}]}},
            "`reference.claims[0].arm` is 'b', which is not an arm of this study",
        ),
        (
            {
                "rope": 0.01,
                "reference": {
                    "source": "A",
                    "claims": [
                        {"text": "", "arm": "b", "against": "a", "expect": "equivalent", "metric": "train_loss"}
                    ],
                },
            },
            "`reference.claims[0].rope` is null, but must be given: the study has no `rope`, or one in another unit",
        ),
    ],
)
def test_mistakes_in_a_study_name_place_value_and_remedy(part, message):
    assert message in refusal(STUDY | part)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"space": None}, "`space` is null, but must be given and not empty in a study of mode search"),
        ({"space": {}}, "`space` is {}, but must be given"),
        ({"space": "normalization"}, "`space` is 'normalization', but must be a mapping"),
        ({"space": ["nope"]}, "`space` names 'nope', which is not in the catalog"),
        ({"space": [[1]]}, "`space` names [1], which is not in the catalog"),
        ({"space": {1: [1]}}, "`space` has the key 1, but keys must be text"),
        ({"space": {"lr": [1]}}, "`space.lr` is not a field of a trial config (did you mean 'optimizer.lr'?)"),
        ({"space": {"optimizer.lr": 3}}, "`space.optimizer.lr` is 3, but must be a list of values or one of"),
        (
            {"space": {"optimizer.lr": {"loguniform": ["a", 1]}}},
            "`space.optimizer.lr.low` is 'a', but must be a number",
        ),
        ({"space": {"optimizer.lr": {"uniform": [1, 2, 3]}}}, "but must be {uniform: [low, high]}"),
        ({"space": {"batch_size": {"int": [1]}}}, "{int: [low, high]} or {int: [low, high, step]}"),
        ({"space": {"optimizer.lr": {"uniform": [1, 0]}}}, "[1.0, 0.0], but must be two different numbers"),
        ({"space": {"optimizer.lr": {"loguniform": [0, 1]}}}, "but must be above 0 in a loguniform range"),
        ({"space": {"optimizer.lr": {"kind": "int"}}}, "`space.optimizer.lr.low` is missing"),
        (
            {"space": {"optimizer.lr": {"kind": "int", "low": 1, "high": 2, "x": 1}}},
            "`space.optimizer.lr.x` is not a kno",
        ),
        ({"space": {"model.depth": {"int": [8, 20]}}}, "`model.depth` is 9, but must be 6n+2"),
        ({"space": {"batch_size": {"uniform": [8, 16]}}}, "`batch_size` is 8.0, but must be a whole number"),
        ({"space": {"batch_size": {"int": [1, 10**15]}}}, "but must be at most 65,536"),
        ({"factors": {"model.norm": ["group"]}}, '`factors` is ["model.norm"], but must be left out'),
        (
            {"search": {"asha": {"grace_period": 11}}},
            "`search.asha.grace_period` is 11, but must be at most the 10 epo",
        ),
        ({"search": {"searcher": "tpee"}}, "(did you mean 'tpe'?)"),
        ({"seeds": 5}, "`seeds` is [0, 1, 2, 3, 4], but must be one seed in a study of mode search"),
        ({"design": "full_factorial"}, "`design` is given, but has no effect in a study of mode search; leave it out"),
        (
            {"search": {"searcher": "grid"}, "space": {"optimizer.lr": {"uniform": [0.1, 1]}}},
            "`space.optimizer.lr` is continuous, but a grid needs a list",
        ),
        (
            {
                "search": {"searcher": "grid"},
                "space": {"optimizer.name": ["sgd", "nesterov"], "optimizer.momentum": [0.0, 0.9]},
            },
            "`optimizer.momentum` is 0, but must be above 0 for nesterov",
        ),
        ({"reference": {"source": "A", "figures": [{"arm": "x", "value": 0}]}}, "a study of mode search has no arms"),
    ],
)
def test_mistakes_in_a_search_name_place_value_and_remedy(part, message):
    assert message in refusal(SEARCH | part)


def test_stored_studies_may_have_what_has_no_effect_and_a_search_without_seeds_is_right():
    assert study_from(SEARCH).seeds[0] == 0
    assert study_from(SEARCH | {"seeds": [7]}).seeds == (7,)
    stored = {"training_version": 2}
    assert len(study_from_store(SEARCH | stored | {"seeds": 5, "design": "full_factorial"}).seeds) == 5
    assert study_from_store(STUDY | stored | {"search": {"trials": 3}}).search.trials == 3


def test_every_mistake_is_told_on_a_line_of_its_own():
    assert len(refusal(STUDY | {"nme": 1, "seeds": 0, "rope": -1}).splitlines()) == 3


@pytest.mark.parametrize("seeds", [10_000, 20])
def test_a_study_of_too_many_cells_is_refused_before_it_is_built(seeds):
    factors = {path: [1, 2, 3, 4, 5, 6, 7, 8] for path in ("batch_size", "epochs", "data.test_size", "model.width")}
    factors |= {"data.train_size": list(range(1, 100))}
    assert "but a study has at most 100,000" in refusal(
        {"name": "x", "design": "full_factorial", "seeds": seeds, "factors": factors}
    )


PLACES = st.sampled_from(
    [
        ("baseline",), ("factors",), ("space",), ("design",), ("search",), ("seeds",), ("sizes",), ("reference",),
        ("baseline", "model"), ("baseline", "model", "blocks"), ("baseline", "schedule", "milestones"), ("keep",),
        ("factors", "model.norm"), ("space", "optimizer.lr"), ("design", "generator"), ("resources", "gpu"),
        ("search", "asha"), ("reference", "claims"), ("reference", "figures"), ("sizes", "small"),
        ("factors", "bundle"),
        *(("baseline", *path.split(".")) for path in field_paths()),
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "batch", "int", "kind", "ü/.."]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["int", "kind", "low", "choice", "model.norm", "arm", "", 1, None]), inner, max_size=3
        )
    ),
    max_leaves=5,
)


@given(PLACES, VALUES, st.booleans())
@settings(max_examples=400, deadline=None, derandomize=True)
def test_any_value_anywhere_is_accepted_or_refused_in_plain_words(place, value, search):
    tree = dict(SEARCH if search else STUDY)
    inner = tree
    for key in place[:-1]:
        inner[key] = dict(inner.get(key) or {})
        inner = inner[key]
    inner[place[-1]] = value
    try:
        study_from(tree)
    except StudyError as error:
        assert not INTERNALS.search(str(error)), str(error)  # noqa: PT017 - either outcome is right
        assert "another kind or size" not in str(error)  # noqa: PT017


def test_names_at_walks_records_lists_and_unions():
    assert names_at(())[0] == "name"
    assert "norm" in names_at(("baseline", "model"))
    assert names_at(("search", "asha")) == ["grace_period", "reduction_factor", "brackets"]
    assert names_at(("reference", "figures", 0)) == ["arm", "metric", "value", "note"]
    for place in (("nope",), ("seeds",), ("space",), ("baseline", "model", "norm"), ("factors", "a", "b")):
        assert names_at(place) == []


def test_trial_overrides_are_read_as_yaml():
    config = trial_from(["model.depth=20", "optimizer.lr=1e-2", "model.blocks=[1, 2]", "data.train_size=null"])
    assert (config.model.depth, config.optimizer.lr, config.model.blocks) == (20, 0.01, (1, 2))
    assert trial_from(["seed=3"], base=config).model.depth == 20


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.depth", "`--set model.depth` must be path=value"),
        ("=3", "must be path=value"),
        ("model..depth=3", "`model..depth` is not a path"),
        ("lr=3", "`lr` is not a known key (did you mean 'optimizer.lr'?)"),
        ("model.nrom=batch", "(did you mean 'norm'?)"),
        ("model.depth.x=3", "`model.depth.x` cannot be set: `depth` is 14, not a mapping"),
        ("model.norm=[", "--set model.norm=[, line 1, column 2: not valid YAML"),
        ("model.norm=no", "`model.norm` is 'no', but must be one of"),
        ("model=null", "`model` is null, but must be a mapping with keys such as"),
    ],
)
def test_wrong_trial_overrides_are_refused(override, message):
    with pytest.raises(StudyError) as error:
        trial_from([override])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        (-float("inf"), "-.inf"),
        ("a", "'a'"),
        ([None, "ü"], '[null, "ü"]'),
        ("x" * 100, "'" + "x" * 76 + "..."),
    ],
)
def test_values_are_shown_as_a_study_file_has_them(value, text):
    assert shown(value) == text


def test_nearest_knows_the_last_word_of_a_path_and_stays_silent_without_a_near_name():
    assert nearest("lr", ["optimizer.lr", "lo"]) == " (did you mean 'optimizer.lr'?)"
    assert nearest("zzz", ["norm"]) == ""
    assert nearest(3, ["norm"]) == ""


def test_dotted_writes_places_as_people_do():
    assert dotted(("reference", "claims", 0, "arm")) == "reference.claims[0].arm"


TRAINING = {
    "name": "x",
    "task": {"run": "my_pkg.train:train"},
    "baseline": {"args": {"width": 1}},
    "factors": {"args.width": [1, 2]},
    "metrics": {"val_score": {"better": "higher"}, "test_score": {"better": "higher"}},
    "metric": "test_score",
}


def claiming(metric, **declared):
    claim = {"text": "", "arm": "width=2", "against": "width=1", "expect": "better", "metric": metric}
    metrics = TRAINING["metrics"] | {name: {"better": better} for name, better in declared.items()}
    return TRAINING | {"metrics": metrics, "reference": {"source": "A", "claims": [claim]}}


OF_IMAGES = ("accuracy_gap", "clean_accuracy_gap", "train_clean_loss", "sharpness", "feature_drift")


@pytest.mark.parametrize("metric", OF_IMAGES)
def test_a_claim_of_a_training_function_about_what_only_images_have_is_refused(metric):
    assert refusal(claiming(metric)) == (
        f"`reference.claims[0].metric` is '{metric}', but must be one of val_score, test_score, seconds; {metric} is "
        "computed for image classification alone: declare it under `metrics`"
    )
    assert study_from(claiming(metric, **{metric: "lower"})).reference.claims[0].metric == metric
    assert study_from_store(claiming(metric) | {"training_version": 2}).reference.claims[0].metric == metric


def test_a_training_function_that_declares_both_accuracies_has_their_gap():
    assert study_from(claiming("accuracy_gap", train_accuracy="higher", val_accuracy="higher")).reference.claims
    assert "is 'clean_accuracy_gap'" in refusal(claiming("clean_accuracy_gap", val_accuracy="higher"))


def test_a_stored_study_may_claim_equivalence_without_a_rope():
    claim = {"text": "", "arm": "norm=group", "against": "norm=batch", "expect": "equivalent", "metric": "train_loss"}
    tree = STUDY | {"rope": 0.01, "reference": {"source": "A", "claims": [claim]}}
    assert study_from_store(tree | {"training_version": 2}).reference.claims[0].rope is None


DEVICE = "CUDA error: device-side assert triggered\nFor debugging consider CUDA_LAUNCH_BLOCKING=1\nCompile: with DSA"
NESTED = 'Caught KeyError in worker process 0.\nOriginal Traceback (most recent call last):\n  File "x.py", line 1\nKeyError: 3'


def raised(error, note="", while_handling=None):
    """Return the traceback of an error as the store keeps it."""
    if note:
        error.add_note(note)
    try:
        try:
            if while_handling:
                raise while_handling
        finally:
            raise error
    except BaseException:
        return traceback.format_exc()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("no report for 9 s\nits process was ended", "no report for 9 s"),
        (
            f"my/train.py, line 3, in run: ValueError: no\n\n{raised(ValueError('no'))}",
            "my/train.py, line 3, in run: ValueError: no",
        ),
        (raised(ValueError("no")), "ValueError: no"),
        (raised(AssertionError()), "AssertionError"),
        (raised(RuntimeError(DEVICE)), "RuntimeError: CUDA error: device-side assert triggered"),
        (raised(ValueError("no"), "The last lines of context.log:\nepoch 3\nloss: 0.52"), "ValueError: no"),
        (raised(ValueError("no"), while_handling=KeyError("first")), "ValueError: no"),
        (raised(RuntimeError(NESTED)), "KeyError: 3"),
        ("Traceback ...\nValueError: no", "ValueError: no"),
        (
            'ray::T.train() (pid=1, ip=10.0.0.1)\n  File "x.py", line 1, in train\n    no()\nValueError: no\nmore',
            "ValueError: no",
        ),
    ],
)
def test_the_headline_of_an_error_is_the_line_that_says_what_happened(text, line):
    assert headline(text) == line


def test_the_headline_of_a_syntax_error_is_no_line_of_the_code():
    with pytest.raises(SyntaxError) as error:
        compile("a b", "x.py", "exec")
    assert headline(raised(error.value)).startswith("SyntaxError: invalid syntax")
