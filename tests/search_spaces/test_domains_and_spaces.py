from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from search_spaces.catalog import CATALOG
from search_spaces.config.trial import TrialConfig
from search_spaces.domains import MAX_VALUES, Choice, Domain, IntRange, LogUniform, Uniform
from search_spaces.errors import StudyError
from search_spaces.space import SearchSpace

ANY = TypeAdapter(Domain)


@given(st.integers(-50, 50), st.integers(1, 50), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_int_range_samples_from_its_grid(low, width, step, seed):
    domain = IntRange(low=low, high=low + width, step=step)
    values = list(range(low, low + width + 1, step))
    assert list(domain.grid()) == values
    assert domain.size == len(values)
    assert domain.edges() == (values[0], values[-1])
    assert domain.sample(np.random.default_rng(seed)) in values


@pytest.mark.parametrize("stored", [4, 4.0])
def test_an_int_range_finds_the_value_that_a_field_of_real_numbers_stores(stored):
    found = IntRange(low=2, high=8, step=2).find(stored)
    assert (found, type(found)) == (4, int)


@pytest.mark.parametrize("other", [3, 3.0, 4.5, 10.0, math.nan, math.inf, True, "4", None])
def test_an_int_range_does_not_find_other_values(other):
    with pytest.raises(KeyError):
        IntRange(low=2, high=8, step=2).find(other)


def test_huge_int_range_is_never_written_out():
    domain = IntRange(low=0, high=2**50)
    assert domain.size == 2**50 + 1
    assert 0 <= domain.sample(np.random.default_rng(0)) <= 2**50


def test_int_range_and_choice_draw_all_values_equally_often():
    rng = np.random.default_rng(0)
    for domain in (IntRange(low=2, high=8, step=2), Choice(values=("a", "b", "c", None))):
        draws = [domain.sample(rng) for _ in range(4000)]
        counts = [draws.count(value) for value in domain.grid()]
        assert stats.chisquare(counts).pvalue > 0.001


def test_uniform_is_uniform_between_its_bounds():
    rng = np.random.default_rng(1)
    draws = [Uniform(low=-1.0, high=3.0).sample(rng) for _ in range(4000)]
    assert min(draws) >= -1
    assert max(draws) <= 3
    assert stats.kstest(draws, stats.uniform(-1, 4).cdf).pvalue > 0.01


def test_log_uniform_has_uniform_logarithms_and_is_not_uniform():
    rng = np.random.default_rng(2)
    draws = [LogUniform(low=1e-4, high=1.0).sample(rng) for _ in range(4000)]
    assert min(draws) >= 1e-4
    assert max(draws) <= 1
    assert stats.kstest(draws, stats.loguniform(1e-4, 1).cdf).pvalue > 0.01
    assert stats.kstest(draws, stats.uniform(1e-4, 1).cdf).pvalue < 1e-6


@pytest.mark.parametrize(
    ("short", "domain"),
    [
        ([1, 2], Choice(values=(1, 2))),
        ({"choice": ["a"]}, Choice(values=("a",))),
        ({"int": [8, 64, 8]}, IntRange(low=8, high=64, step=8)),
        ({"int": [8, 64]}, IntRange(low=8, high=64)),
        ({"uniform": [0, 1]}, Uniform(low=0.0, high=1.0)),
        ({"loguniform": [1e-3, 1]}, LogUniform(low=1e-3, high=1.0)),
        ({"kind": "uniform", "low": 0, "high": 1}, Uniform(low=0.0, high=1.0)),
    ],
)
def test_short_forms_are_read(short, domain):
    read = ANY.validate_python(short)
    assert read == domain
    assert type(read) is type(domain)
    assert ANY.validate_python(read.model_dump(mode="json")) == domain


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [1, 1],
        3,
        "a",
        None,
        {},
        {"int": [1]},
        {"int": [2, 1]},
        {"int": [1, 2.5]},
        {"int": [1, 2, 0]},
        {"int": [0, 2**60]},
        {"uniform": [1, 1]},
        {"uniform": [0, float("inf")]},
        {"uniform": [0, float("nan")]},
        {"loguniform": [0, 1]},
        {"loguniform": [-1, 1]},
        {"normal": [0, 1]},
        {"choice": "ab"},
    ],
)
def test_impossible_domains_are_refused(wrong):
    with pytest.raises(ValidationError):
        ANY.validate_python(wrong)


def test_choice_tells_one_from_true_and_from_one_point_zero():
    assert Choice(values=(1, True, 1.0)).size == 3


def test_continuous_domains_have_no_size_and_no_grid():
    for domain in (Uniform(low=0.1, high=1.0), LogUniform(low=0.1, high=1.0)):
        assert domain.size is None
        with pytest.raises(ValueError, match="grid"):
            domain.grid()


def space(**domains) -> SearchSpace:
    return SearchSpace({path.replace("__", "."): domain for path, domain in domains.items()}, TrialConfig())


def test_grid_is_in_order_the_last_path_moving_fastest():
    two = space(model__norm=Choice(values=("batch", "group")), batch_size=IntRange(low=8, high=24, step=8))
    assert two.size == 6
    assert [tuple(values.values()) for values in two.grid()] == list(itertools.product(("batch", "group"), (8, 16, 24)))
    assert [two.config(values).batch_size for values in two.grid()] == [8, 16, 24] * 2


def test_the_grid_of_huge_int_ranges_is_never_written_out():
    huge = IntRange(low=1, high=10**9)
    two = space(data__train_size=huge, data__validation_size=huge)
    points = iter(two.grid())
    assert [tuple(next(points).values()) for _ in range(3)] == [(1, 1), (1, 2), (1, 3)]
    assert tuple(two.at(two.size - 2).values()) == (10**9, 10**9 - 1)


def test_configs_that_are_refused_or_train_the_same_are_not_counted_twice():
    both = space(
        optimizer__name=Choice(values=("sgd", "nesterov", "adam")), optimizer__momentum=Choice(values=(0.0, 0.9))
    )
    assert (both.size, both.count(100), both.count(3)) == (6, 4, 3)  # nesterov needs momentum, adam has none
    huge = space(data__train_size=IntRange(low=1, high=10**9))
    assert (huge.count(32), huge.count(10**10)) == (32, 10**9)
    assert space(optimizer__lr=Uniform(low=0.1, high=1.0)).count(32) == 32


def test_a_continuous_space_has_no_size_and_no_grid():
    both = space(optimizer__lr=Uniform(low=0.1, high=1.0), batch_size=Choice(values=(8,)))
    assert both.size is None
    with pytest.raises(StudyError, match=r"`space.optimizer.lr` is continuous"):
        list(both.grid())


def test_samples_are_allowed_and_reproducible():
    both = space(optimizer__lr=LogUniform(low=1e-3, high=1.0), model__depth=Choice(values=(8, 14)))
    draws = [both.sample(np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert all(1e-3 <= both.config(draw).optimizer.lr <= 1 for draw in draws)


@pytest.mark.parametrize(
    ("path", "domain", "message"),
    [
        ("model.nrom", Choice(values=("batch",)), "did you mean 'model.norm'"),
        ("model", Choice(values=("batch",)), "`space.model` is not a field"),
        ("seed", IntRange(low=0, high=3), "list seeds under `seeds`"),
        ("model.depth", IntRange(low=8, high=14), "`model.depth` is 9"),
        ("optimizer.momentum", Uniform(low=0.0, high=1.0), "`optimizer.momentum` is 1.0, but must be below 1"),
        ("batch_size", IntRange(low=1, high=10**6), "`batch_size` is 1000000, but must be at most 65,536"),
        ("batch_size", Uniform(low=1.0, high=9.0), "must be a whole number"),
    ],
)
def test_a_space_is_refused_when_it_is_made(path, domain, message):
    with pytest.raises(StudyError) as error:
        SearchSpace({path: domain}, TrialConfig())
    assert message in str(error.value)


def test_an_empty_space_is_refused():
    with pytest.raises(StudyError, match="`space` is empty"):
        SearchSpace({}, TrialConfig())


def test_values_that_go_together_badly_are_refused_with_their_place():
    both = space(optimizer__name=Choice(values=("sgd", "nesterov")), optimizer__momentum=Choice(values=(0.0, 0.9)))
    with pytest.raises(StudyError, match=r"above 0 for nesterov \(from `space`\)"):
        both.config({"optimizer.name": "nesterov", "optimizer.momentum": 0.0})


def test_catalog_has_the_named_spaces():
    wanted = {"normalization", "batch_size", "depth", "learning_rate_schedule", "weight_decay_grouping"}
    assert wanted <= set(CATALOG)


@pytest.mark.parametrize("name", CATALOG)
def test_catalog_entries_fit_the_default_baseline(name):
    entry = SearchSpace(CATALOG[name], TrialConfig())
    values = list(entry.grid()) if entry.size else [entry.sample(np.random.default_rng(seed)) for seed in range(20)]
    digests = {entry.config(value).digest() for value in values}
    assert len(digests) == len(values)


def test_catalog_covers_every_level_that_the_config_knows():
    for name, path in (
        ("normalization", "norm"),
        ("learning_rate_schedule", "kind"),
        ("weight_decay_grouping", "policy"),
        ("augmentation", "policy"),
    ):
        (dotted,) = CATALOG[name]
        section = type(getattr(TrialConfig(), dotted.split(".")[0]))
        known = section.model_json_schema()["properties"][path]["enum"]
        assert sorted(CATALOG[name][dotted].grid()) == sorted(known)


def test_log_uniform_median_is_the_geometric_mean():
    rng = np.random.default_rng(3)
    draws = [LogUniform(low=1e-4, high=1.0).sample(rng) for _ in range(4001)]
    assert math.log10(np.median(draws)) == pytest.approx(-2, abs=0.1)


def test_a_list_of_more_values_than_can_be_tried_is_refused():
    assert Choice(values=list(range(MAX_VALUES))).size == MAX_VALUES
    with pytest.raises(ValidationError, match="at most 1,000 values"):
        Choice(values=list(range(MAX_VALUES + 1)))
