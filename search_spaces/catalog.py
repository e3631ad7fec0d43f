"""Named spaces for common questions, to be used by name as factors or in a search.

``factors: [normalization, depth]`` and ``space: [normalization, learning_rate]`` take the domains from here.
"""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.domains import Choice, IntRange, LogUniform, Uniform

CATALOG: Mapping[str, Mapping[str, Choice | IntRange | Uniform | LogUniform]] = {
    "normalization": {
        "model.norm": Choice(values=("torch_batch", "batch", "instance", "batch_instance", "layer", "group", "none"))
    },
    "batch_size": {"batch_size": Choice(values=(8, 32, 128, 512))},
    "depth": {"model.depth": Choice(values=(8, 14, 20, 32, 44, 56))},
    "learning_rate_schedule": {
        "schedule.kind": Choice(values=("constant", "step", "multistep", "cosine", "onecycle")),
    },
    "weight_decay_grouping": {
        "weight_decay_grouping.policy": Choice(values=("all", "no_bias_or_norm", "by_name", "three_groups")),
    },
    "learning_rate": {"optimizer.lr": LogUniform(low=1e-3, high=1.0)},
    "weight_decay": {"optimizer.weight_decay": LogUniform(low=1e-6, high=1e-2)},
    "augmentation": {"augmentation.policy": Choice(values=("none", "crop_flip", "randaugment"))},
    "norm_placement": {"model.norm_placement": Choice(values=("conv_norm_relu", "conv_relu_norm"))},
}
"""Name -> dotted path -> domain."""
