"""Networks of other libraries by name: ``timm:resnet18``, ``torchvision:mobilenet_v3_small``. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from search_spaces.config.trial import ModelConfig
from search_spaces.errors import StudyError, shown
from tune_app.user_code import library

Arguments = dict[str, Any]


def library_network(config: ModelConfig, channels: int, classes: int, resolution: int) -> nn.Module:
    """Return the network that ``config.family`` names, initialised by its library from torch's global generator.

    Raises StudyError for a library that is not installed or has no networks, a name that it does not have, and
    arguments that would download weights or are set from the data.
    """
    prefix, _, name = config.family.partition(":")
    if prefix not in LIBRARIES:
        raise StudyError(
            f"`model.family` is {config.family!r}, but {prefix} has data sets, not networks; "
            f"name one of {', '.join(f'{p}:NAME' for p in LIBRARIES)}"
        )
    return LIBRARIES[prefix](library(config.family), name, dict(config.args), channels, classes, resolution)


def _timm(timm: Any, name: str, args: Arguments, channels: int, classes: int, resolution: int) -> nn.Module:
    """Return a timm network; one with a fixed input size is built for ``resolution``."""
    for refused in ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay"):
        _refuse(args, refused, "nothing is downloaded: give a local file of weights as `model.args.checkpoint_path`")
    for refused in ("in_chans", "num_classes"):
        _refuse(args, refused, "it is set from the data")
    _check_file(args)
    if not timm.is_model(name.split(".", 1)[0]):
        raise _unknown("timm", name, timm.list_models())
    known = timm.get_pretrained_cfg(name)
    if known is not None and known.fixed_input_size:
        args.setdefault("img_size", resolution)
    network: nn.Module = timm.create_model(name, in_chans=channels, num_classes=classes, **args)
    return network


def _torchvision(
    torchvision: Any, name: str, args: Arguments, channels: int, classes: int, resolution: int
) -> nn.Module:
    """Return a torchvision classifier without auxiliary outputs; a vision transformer is built for ``resolution``."""
    for refused in ("weights", "weights_backbone", "pretrained"):
        _refuse(
            args,
            refused,
            "nothing is downloaded: load a local file in a function of your own, "
            "or use timm:NAME with `model.args.checkpoint_path`",
        )
    _refuse(args, "num_classes", "it is set from the data")
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise _unknown("torchvision", name, names)
    if name in ("googlenet", "inception_v3"):
        args.setdefault("aux_logits", False)
    if name.startswith("vit_"):
        args.setdefault("image_size", resolution)
    network: nn.Module = torchvision.models.get_model(name, num_classes=classes, **args)
    if channels != 3:
        _replace_first_convolution(network, name, channels)
    return network


LIBRARIES: Mapping[str, Callable[[Any, str, Arguments, int, int, int], nn.Module]] = {
    "timm": _timm,
    "torchvision": _torchvision,
}
"""Prefix of a reference -> (the library, name, arguments, channels, classes, resolution) -> network."""


def _replace_first_convolution(network: nn.Module, name: str, channels: int) -> None:
    """Let the network take ``channels`` channels instead of three; draws no random numbers.

    Each new input channel has the sum of the three old kernels over the number of channels. So gray images give what
    they would give as colour images of three equal channels.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.in_channels == 3 and layer.groups == 1:
            break
    else:
        raise StudyError(
            f"`torchvision:{name}` has no convolution of 3 channels to replace for images of {channels}; "
            "write a function of your own that builds the network"
        )
    with torch.no_grad():
        kernel = layer.weight.sum(1, keepdim=True) / channels
        layer.weight = nn.Parameter(kernel.repeat(1, channels, 1, 1))
    layer.in_channels = channels


def _check_file(args: Arguments) -> None:
    """Replace ``checkpoint_path`` by an absolute path; StudyError where no file is there."""
    path = args.get("checkpoint_path")
    if path is None:
        return
    file = Path(str(path)).expanduser()
    if not file.is_absolute() or not file.is_file():
        why = (
            "there is no such file"
            if file.is_absolute()
            else "must be an absolute path: each worker has its own folder"
        )
        raise StudyError(f"`model.args.checkpoint_path` is {shown(path)}, but {why}")
    args["checkpoint_path"] = str(file)


def _refuse(args: Arguments, name: str, why: str) -> None:
    if name in args:
        raise StudyError(f"`model.args.{name}` is {shown(args[name])}, but must be left out: {why}")


def _unknown(package: str, name: str, names: Iterable[str]) -> StudyError:
    near = get_close_matches(name, list(names), n=3, cutoff=0.5)
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    return StudyError(f"`model.family` is {f'{package}:{name}'!r}, but {package} has no such image classifier{hint}")
