"""Weight-decay policies: each is an exact partition of a model's parameters into groups with a weight decay.

A parameter may have two attributes: ``no_decay = True`` (it never decays) and ``lr_scale`` (factor on its learning
rate), as the gates of batch-instance norm do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from torch import nn
from torch.nn.modules.conv import _ConvNd

from search_spaces.config.trial import OptimizerConfig, TrialConfig, WeightDecayConfig
from search_spaces.errors import StudyError
from tune_app.models import NORM_TYPES, is_attention_bias

Role = Literal["norm", "bias", "rest"]


def parameter_groups(
    model: nn.Module, optimizer_config: OptimizerConfig, decay_config: WeightDecayConfig
) -> list[dict[str, Any]]:
    """Return the optimizer's parameter groups: every parameter in exactly one.

    A group is a dict of ``name``, ``params``, ``weight_decay`` and ``lr_scale``. StudyError if a tensor is shared
    between modules of different roles, since the partition would then depend on the order of the modules.
    """
    decays = _decay_of_group(optimizer_config, decay_config)
    groups: dict[tuple[str, float], dict[str, Any]] = {}
    for parameter, name in _group_names(model, decay_config).items():
        scale = float(getattr(parameter, "lr_scale", 1.0))
        empty = {"name": name, "params": [], "weight_decay": decays[name], "lr_scale": scale}
        groups.setdefault((name, scale), empty)["params"].append(parameter)
    return list(groups.values())


def decayed_names(model: nn.Module, config: TrialConfig) -> dict[str, float]:
    """Return every parameter's weight decay by its name, in the model's order."""
    decays = _decay_of_group(config.optimizer, config.weight_decay_grouping)
    groups = _group_names(model, config.weight_decay_grouping)
    return {name: decays[groups[parameter]] for name, parameter in model.named_parameters()}


def misnamed(model: nn.Module) -> list[str]:
    """Return the parameters that the rule by name misclassifies, compared with the rule by module type."""
    by_name, by_type = DECAY_POLICIES["by_name"], DECAY_POLICIES["no_bias_or_norm"]
    return [name for name, _, role in _walk(model) if by_name(name, role) != by_type(name, role)]


def _all(name: str, role: Role) -> str:
    return "decayed"


def _no_bias_or_norm(name: str, role: Role) -> str:
    return "decayed" if role == "rest" else "undecayed"


def _by_name(name: str, role: Role) -> str:
    return "undecayed" if "bias" in name or "bn" in name else "decayed"


def _three_groups(name: str, role: Role) -> str:
    return role


DECAY_POLICIES: Mapping[str, Callable[[str, Role], str]] = {
    "all": _all,
    "no_bias_or_norm": _no_bias_or_norm,
    "by_name": _by_name,
    "three_groups": _three_groups,
}


def _decay_of_group(optimizer: OptimizerConfig, decay: WeightDecayConfig) -> dict[str, float]:
    return {
        "decayed": optimizer.weight_decay,
        "undecayed": 0.0,
        "norm": decay.norm_decay,
        "bias": decay.bias_decay,
        "rest": optimizer.weight_decay,
    }


def _group_names(model: nn.Module, decay: WeightDecayConfig) -> dict[nn.Parameter, str]:
    """Return each parameter's group; parameters are keys by identity, in the model's order."""
    group_of = DECAY_POLICIES[decay.policy]
    names: dict[nn.Parameter, str] = {}
    for name, parameter, role in _walk(model):
        group = "undecayed" if getattr(parameter, "no_decay", False) else group_of(name, role)
        if names.setdefault(parameter, group) != group:
            raise StudyError(
                f"`weight_decay_grouping.policy` is {decay.policy!r}, but the model shares `{name}` with a module that "
                f"this policy puts into group {names[parameter]!r} instead of {group!r}; choose the policy 'all'"
            )
    return names


def _walk(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, Role]]:
    """Yield the direct parameters of each module with full name and role, a shared tensor once per module."""
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            yield (f"{path}.{name}" if path else name), parameter, _role(module, name)


def _role(module: nn.Module, name: str) -> Role:
    if isinstance(module, NORM_TYPES):
        return "norm"
    is_bias = name == "bias" and isinstance(module, _ConvNd | nn.Linear)
    return "bias" if is_bias or is_attention_bias(module, name) else "rest"
