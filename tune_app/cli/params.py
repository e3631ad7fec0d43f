"""The verb `params`: a model's parameters layer by layer, and their groups in each weight-decay policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.console import Console
from rich.table import Table

from search_spaces.errors import StudyError, nearest
from tune_app.cli.common import Set, console

if TYPE_CHECKING:
    import torch

    from search_spaces.config.trial import TrialConfig


def params(
    family: Annotated[
        str,
        typer.Argument(
            help="A built-in family, such as resnet; timm:NAME, torchvision:NAME, or MODULE:FUNCTION of "
            "your own, imported from the current folder.",
            show_default=False,
        ),
    ],
    set_: Set = None,
    channels: Annotated[int, typer.Option(help="Channels of the images.", min=1, max=4096)] = 3,
    classes: Annotated[int, typer.Option(help="Number of classes.", min=1, max=1_000_000)] = 10,
    resolution: Annotated[int, typer.Option(help="Side of the images in pixels.", min=4, max=4096)] = 32,
) -> None:
    """List a model's parameters by layer, the total, and the weight-decay groups of every policy.

    Example: `tune-app params resnet --set model.depth=20`
    """
    from search_spaces.config.base import is_reference
    from search_spaces.config.trial import Family
    from search_spaces.study_files import trial_from

    if family not in get_args(Family) and not is_reference(family):
        raise StudyError(
            f"`FAMILY` is {family!r}, but must be one of {', '.join(get_args(Family))}"
            f"{nearest(family, get_args(Family))}"
        )
    config = trial_from([f"model.family={family}", *(set_ or ())])
    from tune_app.models import model_notes

    model = _build(config, channels, classes, resolution)
    out = console()
    _layers(model, out)
    _groups(model, config, out)
    for note in model_notes(config.model, channels, resolution):
        out.print(f"note: {note}")
    out.print(f"total: {sum(parameter.numel() for parameter in model.parameters()):,} parameters")


def _build(config: TrialConfig, channels: int, classes: int, resolution: int) -> torch.nn.Module:
    """Return the network, of a built-in family without weights; StudyError with the user's own line for its errors."""
    import torch

    from search_spaces.config.base import is_reference
    from tune_app.models import build_model
    from tune_app.user_code import CodeSource, make_importable, user_traceback

    folder = str(Path.cwd())
    if is_reference(config.model.family):
        make_importable(CodeSource(folder))
    with torch.device("meta"):
        try:
            return build_model(config.model, channels, classes, resolution)
        except StudyError:
            raise
        except Exception as error:  # the user's code may raise anything
            if not is_reference(config.model.family):
                raise
            raise StudyError(user_traceback(error, [folder]).split("\n\nTraceback")[0]) from error


def _layers(model: torch.nn.Module, out: Console) -> None:
    from tune_app.models.parameters import parameter_rows

    table = Table(show_footer=True)
    rows = parameter_rows(model)
    total = sum(row.count for row in rows)
    table.add_column("parameter", footer="total", no_wrap=True)
    table.add_column("layer")
    table.add_column("shape")
    table.add_column("role")
    table.add_column("count", footer=f"{total:,}", justify="right")
    for row in rows:
        table.add_row(row.name, row.kind, " x ".join(map(str, row.shape)), row.role, f"{row.count:,}")
    out.print(table)


def _groups(model: torch.nn.Module, config: TrialConfig, out: Console) -> None:
    from search_spaces.config.trial import DecayPolicy
    from tune_app.training import misnamed, parameter_groups

    table = Table(caption_justify="left")
    for heading in ("policy", "group", "tensors", "parameters", "weight decay"):
        table.add_column(heading, justify="left" if heading in ("policy", "group") else "right")
    for policy in get_args(DecayPolicy):
        decay = config.weight_decay_grouping.model_copy(update={"policy": policy})
        mark = " (chosen)" if policy == config.weight_decay_grouping.policy else ""
        for number, group in enumerate(parameter_groups(model, config.optimizer, decay)):
            count = sum(parameter.numel() for parameter in group["params"])
            label = "" if number else policy + mark
            size = len(group["params"])
            table.add_row(label, str(group["name"]), str(size), f"{count:,}", f"{group['weight_decay']:g}")
    out.print(table)
    wrong = misnamed(model)
    if wrong:
        out.print(f"by_name misclassifies {len(wrong)} tensors: {', '.join(wrong)}")
    else:
        out.print("by_name agrees with no_bias_or_norm on this model")
