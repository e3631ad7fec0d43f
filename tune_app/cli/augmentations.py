"""The verb `augmentations`: the effect of each operation of RandAugment on an image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from search_spaces.errors import StudyError
from tune_app.cli.common import console


def augmentations(
    image: Annotated[Path | None, typer.Argument(help="An image file, or --sample.", show_default=False)] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Use the sample image of scikit-learn.")] = False,
    magnitude: Annotated[int, typer.Option(help="RandAugment's M.", min=0, max=30)] = 20,
    source: Annotated[
        bool, typer.Option("--source", help="The strengths that source A states: rotation by 30 degrees, 3 bits.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Output file: .png, .svg or .pdf.")] = Path("augmentations.png"),
) -> None:
    """Draw an image and the twelve RandAugment operations on it, each labelled with its strength.

    Example: `tune-app augmentations --sample --out grid.png`
    """
    import numpy as np

    from analysis.plots.augmentations import draw_augmentations
    from analysis.plots.picture import save
    from search_spaces.images import open_image
    from tune_app.data.augmentation.grid import SOURCE_STRENGTHS, augmentation_grid

    if (image is None) != sample:
        raise StudyError("`augmentations` takes either an image file or --sample")
    if image is None:
        from sklearn.datasets import load_sample_image

        pixels = load_sample_image("flower.jpg")[:, 100:527]
    else:
        with open_image(image) as opened:
            pixels = np.asarray(opened.convert("RGB"))
    pictures = augmentation_grid(pixels, magnitude, SOURCE_STRENGTHS if source else None)
    save(draw_augmentations(pictures, magnitude).figure, out)
    console().print(f"written to {out}", soft_wrap=True)
