"""The recipes of docs/extending.md: each test executes the code of one recipe, uses the component, and removes it."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from search_spaces import designs, make_plan, metrics, study_from
from search_spaces.config.trial import TrialConfig
from tune_app.data import SOURCES, load_source
from tune_app.data.augmentation import policies
from tune_app.draws import keyed_generator
from tune_app.models import MODELS, NORMS, build_model, norms
from tune_app.training import DECAY_POLICIES, OPTIMIZERS, SCHEDULES, decay, decayed_names, fit, optimizers, schedules

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"<!-- recipe: (\w+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))
TINY = {"model.depth": 8, "model.width": 4, "data.train_size": 40, "data.validation_size": 20, "data.test_size": 20}
TINY |= {"epochs": 1, "batch_size": 20, "precision": "float32"}


@contextmanager
def component(recipe: str, module: ModuleType | None, registry: Any, place: str = ""):
    """Execute a recipe inside a module and add its entry to a registry, and its name to the config, for the block."""
    namespace = {"__name__": "recipe", **(vars(module) if module else {})}
    exec(compile(RECIPES[recipe], f"docs/extending.md, {recipe}", "exec"), namespace)
    ((name, value),) = namespace["ENTRY"].items()
    assert name not in registry
    registry[name] = value
    try:
        with allowed(place, name) if place else nullcontext():
            yield name, namespace
    finally:
        del registry[name]


@contextmanager
def allowed(place: str, name: str):
    """Let a field of the config accept a new name, as adding it to the field's Literal does."""
    with pytest.raises(ValidationError):
        TrialConfig().with_values({place: name})
    section, field = place.split(".")
    part = type(getattr(TrialConfig(), section))
    info = part.model_fields[field]
    annotation, metadata = info.annotation, info.metadata
    info.annotation, info.metadata = str, []
    rebuild(part)
    try:
        yield
    finally:
        info.annotation, info.metadata = annotation, metadata
        rebuild(part)


@pytest.fixture
def add():
    """Return ``component`` for the rest of the test."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(component(*arguments))


def rebuild(part: Any) -> None:
    part.model_rebuild(force=True)
    TrialConfig.model_rebuild(force=True)


def train(**values: Any):
    config = TrialConfig().with_values({**TINY, **{key.replace("__", "."): value for key, value in values.items()}})
    (epoch,) = fit(config, load_source(config.data))
    assert epoch.status == "completed"
    return epoch


def test_every_recipe_of_the_page_has_a_test():
    assert set(RECIPES) == {
        "norm", "family", "optimizer", "schedule", "decay", "augmentation", "source", "metric", "plot", "design",
    }  # fmt: skip


def test_norm_recipe_computes_its_formula_and_trains(add):
    name, recipe = add("norm", norms, NORMS, "model.norm")
    x = torch.randn(4, 3, 5, 5)
    expected = x / (x.square().mean((1, 2, 3), keepdim=True) + norms.EPS).sqrt()
    torch.testing.assert_close(recipe["RmsNorm"](3)(x), expected)
    assert np.isfinite(train(model__norm=name).val.loss)


def test_family_recipe_builds_and_trains_with_every_norm(add):
    name, _ = add("family", None, MODELS, "model.family")
    config = TrialConfig().with_values(
        {"model.family": name, "model.width": 4, "model.norm": "group", "model.norm_groups": 2}
    )
    assert build_model(config.model, 1, 10, 8)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert np.isfinite(train(model__family=name).val.loss)


def test_optimizer_recipe_trains(add):
    name, _ = add("optimizer", optimizers, OPTIMIZERS, "optimizer.name")
    assert np.isfinite(train(optimizer__name=name, optimizer__lr=0.001).val.loss)


def test_schedule_recipe_sets_the_learning_rate(add):
    name, _ = add("schedule", schedules, SCHEDULES, "schedule.kind")
    assert train(schedule__kind=name, schedule__final_factor=0.25, optimizer__lr=0.1).learning_rate == 0.025


def test_decay_recipe_excludes_norms_and_trains(add):
    name, _ = add("decay", decay, DECAY_POLICIES, "weight_decay_grouping.policy")
    config = TrialConfig().with_values({"weight_decay_grouping.policy": name, "model.norm": "torch_batch"})
    model = build_model(config.model, 1, 10, 8)
    undecayed = {key for key, value in decayed_names(model, config).items() if value == 0}
    assert undecayed == {
        f"{key}.{p}"
        for key, m in model.named_modules()
        if isinstance(m, torch.nn.BatchNorm2d)
        for p in ("weight", "bias")
    }
    train(weight_decay_grouping__policy=name)


def test_augmentation_recipe_mirrors_about_half_of_the_images_and_trains(add):
    name, _ = add("augmentation", policies, policies.AUGMENTATIONS, "augmentation.policy")
    config = TrialConfig().with_values({"augmentation.policy": name}).augmentation
    images = torch.arange(200 * 4, dtype=torch.uint8).reshape(200, 1, 4, 1)
    draw = partial(keyed_generator, 0, 1, "augmentation")
    out = policies.build_augmentation(config)(200, draw, torch.device("cpu"))(images, slice(0, 200))
    mirrored = (out == images.flip(2)).flatten(1).all(1)
    assert 70 < int(mirrored.sum()) < 130
    assert torch.equal(out[~mirrored], images[~mirrored])
    train(augmentation__policy=name)


def test_source_recipe_is_loaded_and_learned(add):
    name, _ = add("source", None, SOURCES, "data.source")
    values = {"data__train_size": None, "data__validation_size": None, "data__test_size": None, "epochs": 6}
    config = TrialConfig().with_values(
        {**TINY, **{k.replace("__", "."): v for k, v in values.items()}, "data.source": name}
    )
    *_, last = fit(config, load_source(config.data))
    assert last.test is not None
    assert last.test.accuracy == 1.0


def test_metric_recipe_is_measured_on_every_split(add):
    name, recipe = add("metric", metrics, metrics.IMAGE_QUANTITIES)
    counts = metrics.Counts(np.array([[3, 1], [0, 6]]), np.array([9, 1]), 1.0, 10)
    assert recipe[name](counts) == (3 / 4 + 1) / 2
    epoch = train()
    assert {f"train_{name}", f"val_{name}"} <= set(epoch.to_row())
    assert 0 <= epoch.test.values[name] <= 1


def test_plot_recipe_computes_a_table_and_draws_it(tmp_path):
    from analysis import load_study
    from analysis.plots.picture import save
    from bench.make_store import write_store

    recipe: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(RECIPES["plot"], "docs/extending.md, plot", "exec"), recipe)
    results = load_study(write_store(tmp_path / "store", seeds=2, epochs=2, extras=False))
    table = recipe["parameter_data"](results.trials)
    assert list(table["arm"]) == list(results.arms)
    picture = recipe["draw_parameters"](table)
    assert save(picture.figure, tmp_path / "size.svg").stat().st_size > 1000


def test_design_recipe_makes_the_arms_of_a_plan(monkeypatch):
    recipe = {"__name__": "recipe", **vars(designs)}
    exec(compile(RECIPES["design"], "docs/extending.md, design", "exec"), recipe)
    assert recipe["all_pairs"]([2, 2, 2]) == [
        (0, 0, 0),
        (0, 0, 1),
        (0, 1, 0),
        (0, 1, 1),
        (1, 0, 0),
        (1, 0, 1),
        (1, 1, 0),
    ]
    monkeypatch.setattr(designs, "one_factor_at_a_time", recipe["all_pairs"])
    tree = {
        "name": "pairs",
        "seeds": 1,
        "factors": {"batch_size": [128, 32], "epochs": [10, 5], "model.depth": [14, 8]},
    }
    assert len(make_plan(study_from(tree)).cells) == 7


def test_a_component_exists_only_inside_its_block():
    with component("optimizer", optimizers, OPTIMIZERS, "optimizer.name") as (name, _):
        assert TrialConfig().with_values({"optimizer.name": name}).optimizer.name == name
    assert name not in OPTIMIZERS
    with pytest.raises(ValidationError):
        TrialConfig().with_values({"optimizer.name": name})
