"""The ready studies contain exactly the figures of their sources, and are valid at each size."""

from __future__ import annotations

from typing import get_args

import pytest

from search_spaces.metrics import LANDSCAPE_METRICS
from search_spaces.plan import make_plan
from search_spaces.published import SOURCES, Reference
from search_spaces.study_files import read_study, ready_studies

OF_SOURCES = [name for name in ready_studies() if name not in ("quickstart", "tuned-normalization")]

TABLE_1 = {  # accuracy, micro F1, macro F1 of train, val, test in percent
    "augmentation=none": {"accuracy": (99.98, 83.01, 81.91), "f1_micro": (99.98, 83.01, 81.91), "f1_macro": (99.98, 82.99, 81.82)},
    "augmentation=crop_flip": {"accuracy": (98.03, 89.39, 89.57), "f1_micro": (98.03, 89.39, 89.57), "f1_macro": (98.03, 89.38, 89.56)},
}  # fmt: skip
TABLE_3 = {  # train, val, test accuracy and macro F1 of test in percent
    "torch_batch": (98.03, 89.39, 89.57, 89.56),
    "none": (95.58, 86.46, 86.77, 86.73),
    "batch": (98.87, 89.21, 89.14, 89.16),
    "batch_instance": (98.26, 88.79, 87.65, 87.62),
    "group": (95.74, 87.51, 86.84, 86.83),
    "instance": (97.88, 88.12, 87.21, 87.19),
    "layer": (96.30, 87.36, 87.11, 87.07),
}
TABLE_4 = {  # train and test accuracy in percent
    "baseline": (98.88, 89.39),
    "batch_size=8": (96.32, 90.97),
    "norm=group": (95.52, 86.78),
    "norm=group, batch_size=8": (95.25, 86.28),
}
SEVEN = {  # test accuracy in percent, test loss
    "cnn": (87.23, 0.3968),
    "resnet-20": (91.10, 0.3282),
    "resnet-56": (93.19, 0.3010),
    "resnet-110": (93.90, 0.2744),
    "plain-20": (85.76, 0.4165),
    "plain-56": (79.07, 0.6313),
    "plain-110": (43.58, 1.5175),
}
HE_ERROR = {20: [8.75], 56: [6.97], 110: [6.43, 6.61]}


def expected_figures():
    table_1 = {
        (arm, f"{split}_{metric}", value / 100)
        for arm, metrics in TABLE_1.items()
        for metric, values in metrics.items()
        for split, value in zip(("train", "val", "test"), values, strict=True)
    }
    columns = ("train_accuracy", "val_accuracy", "test_accuracy", "test_f1_macro")
    table_3 = {(f"norm={n}", c, v / 100) for n, row in TABLE_3.items() for c, v in zip(columns, row, strict=True)}
    table_4 = {
        (arm, column, value / 100)
        for arm, row in TABLE_4.items()
        for column, value in zip(("train_accuracy", "test_accuracy"), row, strict=True)
    }
    depths = {kind: _pairs(lambda d, kind=kind: f"{kind}-{d}", lambda d: f"depth={d}") for kind in ("resnet", "plain")}
    he = {
        (f"depth={depth}", "test_accuracy", 1 - error / 100) for depth, errors in HE_ERROR.items() for error in errors
    }
    return {
        "b-augmentation": table_1,
        "b-normalization": table_3,
        "b-batch-size": table_4,
        "b-batchnorm-check": {row for row in table_3 if row[0] in ("norm=torch_batch", "norm=batch") and row[1] in columns[::2]},
        "e-cnn": {("dropout=0.5", "test_accuracy", 0.8723), ("dropout=0.5", "test_loss", 0.3968)},
        "e-resnet-depth": depths["resnet"] | he,
        "e-plain-depth": depths["plain"],
        "e-landscapes": {
            (f"network={name}", *figure) for name, (accuracy, loss) in SEVEN.items()
            for figure in (("test_accuracy", accuracy / 100), ("test_loss", loss))
        },
    }  # fmt: skip


def _pairs(of_seven, arm):
    return {
        (arm(depth), *figure)
        for depth in (20, 56, 110)
        for figure in (("test_accuracy", SEVEN[of_seven(depth)][0] / 100), ("test_loss", SEVEN[of_seven(depth)][1]))
    }


@pytest.mark.parametrize("name", OF_SOURCES)
def test_reported_figures_are_the_sources_own(name):
    reference = read_study(name, "full").reference
    figures = reference.figures if reference else ()
    found = {(figure.arm, figure.metric, round(figure.value, 6)) for figure in figures}
    assert len(found) == len(figures)
    assert found == {(arm, metric, round(value, 6)) for arm, metric, value in expected_figures().get(name, set())}


@pytest.mark.parametrize("name", OF_SOURCES)
def test_without_a_size_a_study_is_the_full_one_and_small_ones_read_other_data(name):
    plain, full = read_study(name), read_study(name, "full")
    assert plain == full
    assert full.baseline.data.source == "cifar10"
    assert full.baseline.data.train_size is None
    assert read_study(name, "smoke").baseline.data.source == "digits"
    assert read_study(name, "small", ["data.path=x"]).baseline.data.source == "parquet"


@pytest.mark.parametrize("name", OF_SOURCES)
def test_every_size_keeps_the_question_and_says_how_it_differs(name):
    studies = {size: read_study(name, size) for size in ("smoke", "small", "full")}
    assert len({study.question for study in studies.values()}) == 1
    notes = [study.reference.note for study in studies.values() if study.reference]
    assert len(set(notes)) == len(notes)
    assert name == studies["full"].name


def claims_of(name, size="full"):
    return [(c.arm, c.expect, c.against, c.metric) for c in read_study(name, size).reference.claims]


def test_the_claims_are_those_of_the_sources():
    assert ("batch_size=8", "better", "baseline", "") in claims_of("b-batch-size")
    assert ("norm=group, batch_size=8", "equivalent", "norm=group", "") in claims_of("b-batch-size")
    assert ("schedule=step", "worse", "schedule=cosine", "") in claims_of("b-schedule")
    assert ("norm=batch", "equivalent", "norm=torch_batch", "") in claims_of("b-batchnorm-check")
    assert ("depth=110", "better", "depth=20", "") in claims_of("e-resnet-depth")
    assert ("depth=110", "worse", "depth=20", "") in claims_of("e-plain-depth")
    placement = ("norm_placement=conv_norm_relu", "better", "norm_placement=conv_relu_norm", "")
    assert placement in claims_of("a-norm-placement")
    assert ("conv_bias=true", "equivalent", "baseline", "") in claims_of("a-block-details")
    for depth in (20, 56, 110):
        claim = (f"network=resnet-{depth}", "better", f"network=plain-{depth}", "roughness")
        assert claim in claims_of("e-landscapes")
    for arm, against in (("resnet-20", "plain-20-sgd"), ("resnet-20-adamw", "plain-20")):
        for metric in LANDSCAPE_METRICS:
            assert (f"network={arm}", "better", f"network={against}", metric) in claims_of("e-landscapes")


@pytest.mark.parametrize("name", [name for name in ready_studies() if read_study(name).reference])
def test_no_published_figure_contradicts_a_claim_of_its_source(name):
    spec = read_study(name)
    figures = {(figure.arm, figure.metric or spec.metric): figure.value for figure in spec.reference.figures}
    for claim in spec.reference.claims:
        metric = claim.metric or spec.metric
        ends = [figures.get((arm, metric)) for arm in (claim.arm, claim.against)]
        if None in ends:
            continue
        gain = (ends[0] - ends[1]) * (1 if spec.metric_record(metric).higher_is_better else -1)
        if claim.expect == "equivalent":
            assert abs(gain) < (claim.rope or spec.rope), claim.text
        else:
            assert (gain > 0) == (claim.expect == "better"), claim.text


def test_crossed_arms_of_the_landscapes_differ_from_their_partner_in_the_network_alone():
    arms = {arm.name: arm.config for arm in make_plan(read_study("e-landscapes")).arms}
    for arm, partner in (("plain-20-sgd", "resnet-20"), ("plain-20", "resnet-20-adamw")):
        changed = arms[f"network={arm}"].model_copy(update={"model": arms[f"network={partner}"].model})
        assert changed.digest() == arms[f"network={partner}"].digest()


def test_scaled_depths_have_claims_of_their_own_and_no_figure_of_another_depth():
    for name, expect in (("e-resnet-depth", "better"), ("e-plain-depth", "worse")):
        small = read_study(name, "small").reference
        assert [(c.arm, c.expect, c.against) for c in small.claims] == [
            ("depth=26", expect, "depth=8"),
            ("depth=14", expect, "depth=8"),
        ]
        assert small.figures == ()
        assert "replace 20, 56 and 110" in small.note


def test_the_search_goes_over_the_five_named_spaces():
    space = read_study("search").search_space()
    assert list(space.domains) == [
        "model.norm", "batch_size", "model.depth", "schedule.kind", "weight_decay_grouping.policy",
    ]  # fmt: skip
    assert space.size == 7 * 4 * 6 * 5 * 4


def test_settings_that_the_sources_name_are_in_the_full_size():
    b = read_study("b-normalization").baseline
    assert (b.model.depth, b.batch_size, b.epochs, b.optimizer.name, b.optimizer.lr) == (14, 128, 100, "sgd", 0.1)
    assert (b.schedule.kind, b.schedule.interval, b.augmentation.policy, b.augmentation.padding) == (
        "cosine", "epoch", "crop_flip", 4,
    )  # fmt: skip
    cnn = read_study("e-cnn").baseline
    assert (cnn.optimizer.name, cnn.optimizer.lr, cnn.optimizer.weight_decay) == ("adam", 0.001, 5e-4)
    assert (cnn.schedule.kind, cnn.schedule.step_size, cnn.schedule.gamma, cnn.epochs) == ("step", 10, 0.5, 50)
    resnet, plain = read_study("e-resnet-depth").baseline, read_study("e-plain-depth").baseline
    assert (resnet.optimizer.name, resnet.schedule.kind) == ("sgd", "multistep")
    assert (plain.optimizer.name, plain.schedule.kind) == ("adamw", "onecycle")
    assert resnet.optimizer.clip_norm
    assert plain.optimizer.clip_norm


def test_the_networks_of_the_landscapes_are_trained_as_in_their_own_studies():
    arms = {arm.name.removeprefix("network="): arm.config for arm in make_plan(read_study("e-landscapes")).arms}
    own = ["resnet-20", "resnet-56", "resnet-110", "plain-20", "plain-56", "plain-110"]
    assert list(arms) == [*own, "resnet-20-adamw", "plain-20-sgd", "cnn"]
    for family, study in (("resnet", "e-resnet-depth"), ("plain", "e-plain-depth")):
        own = {arm.config.model.depth: arm.config.digest() for arm in make_plan(read_study(study)).arms}
        assert {depth: arms[f"{family}-{depth}"].digest() for depth in (20, 56, 110)} == own
    assert arms["cnn"].digest() == read_study("e-cnn").baseline.digest()


def test_every_source_has_a_citation_and_every_ready_study_names_its_source():
    letters = get_args(Reference.model_fields["source"].annotation)
    assert tuple(SOURCES) == letters
    for name in OF_SOURCES:
        reference = read_study(name).reference
        assert (reference.source.lower() if reference else "search") == name.split("-")[0]
