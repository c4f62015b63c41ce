"""How others name and shape the tensors of a ConvNeXt: one table a layout, read in both directions. Ours has a ViT too.

In a pattern {i} is a stage, {j} a block of it, {leaf} weight or bias, {rest} whatever a response of ours holds.
Names seen in: facebookresearch/ConvNeXt and ConvNeXt-V2, timm 1.0, transformers 5.24.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from torch import Tensor

from collapse_lab.registry import Registry

Pairs = tuple[tuple[str, str], ...]
_WILD = {"i": r"\d+", "j": r"\d+", "leaf": "weight|bias", "rest": ".+"}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """`pairs` of names, ours and theirs, in order: the first that matches counts.

    `gate` is the shape of GRN's two vectors, `prefixes` what may stand before a name, `others` the first words of
    names that belong to what an encoder was trained with and are no part of it.
    """

    name: str
    pairs: Pairs
    gate: tuple[int, ...] = (-1,)
    prefixes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def ours(self, name: str) -> str | None:
        """Our name of theirs; None for a name that this layout does not have."""
        return _renamed(name, tuple((theirs, ours) for ours, theirs in self.pairs))

    def theirs(self, name: str) -> str | None:
        """Their name of ours, without a prefix; None for what this layout cannot hold."""
        return _renamed(name, self.pairs)

    def bare(self, name: str) -> str:
        """Without the prefixes of this layout, of data parallelism and of compilation."""
        name = name.replace("_orig_mod.", "")
        known = ("module.", *self.prefixes)
        while prefix := next((each for each in known if name.startswith(each)), ""):
            name = name.removeprefix(prefix)
        return name


OFFICIAL = Layout(
    name="official",
    pairs=(
        ("stem.conv.{leaf}", "downsample_layers.0.0.{leaf}"),
        ("stem.norm.{leaf}", "downsample_layers.0.1.{leaf}"),
        ("stages.{i}.downsample.norm.{leaf}", "downsample_layers.{i}.0.{leaf}"),
        ("stages.{i}.downsample.conv.{leaf}", "downsample_layers.{i}.1.{leaf}"),
        ("stages.{i}.blocks.{j}.depthwise.{leaf}", "stages.{i}.{j}.dwconv.{leaf}"),
        ("stages.{i}.blocks.{j}.norm.{leaf}", "stages.{i}.{j}.norm.{leaf}"),
        ("stages.{i}.blocks.{j}.expand.{leaf}", "stages.{i}.{j}.pwconv1.{leaf}"),
        ("stages.{i}.blocks.{j}.response.gamma", "stages.{i}.{j}.grn.gamma"),
        ("stages.{i}.blocks.{j}.response.beta", "stages.{i}.{j}.grn.beta"),
        ("stages.{i}.blocks.{j}.project.{leaf}", "stages.{i}.{j}.pwconv2.{leaf}"),
        ("stages.{i}.blocks.{j}.layer_scale", "stages.{i}.{j}.gamma"),
        ("norm.{leaf}", "norm.{leaf}"),
        ("head.{leaf}", "head.{leaf}"),
    ),
    gate=(1, 1, 1, -1),
    prefixes=("encoder.",),
    others=("decoder", "mask_token", "proj", "pred"),
)

TIMM = Layout(
    name="timm",
    pairs=(
        ("stem.conv.{leaf}", "stem.0.{leaf}"),
        ("stem.norm.{leaf}", "stem.1.{leaf}"),
        ("stages.{i}.downsample.norm.{leaf}", "stages.{i}.downsample.0.{leaf}"),
        ("stages.{i}.downsample.conv.{leaf}", "stages.{i}.downsample.1.{leaf}"),
        ("stages.{i}.blocks.{j}.depthwise.{leaf}", "stages.{i}.blocks.{j}.conv_dw.{leaf}"),
        ("stages.{i}.blocks.{j}.norm.{leaf}", "stages.{i}.blocks.{j}.norm.{leaf}"),
        ("stages.{i}.blocks.{j}.expand.{leaf}", "stages.{i}.blocks.{j}.mlp.fc1.{leaf}"),
        ("stages.{i}.blocks.{j}.response.gamma", "stages.{i}.blocks.{j}.mlp.grn.weight"),
        ("stages.{i}.blocks.{j}.response.beta", "stages.{i}.blocks.{j}.mlp.grn.bias"),
        ("stages.{i}.blocks.{j}.project.{leaf}", "stages.{i}.blocks.{j}.mlp.fc2.{leaf}"),
        ("stages.{i}.blocks.{j}.layer_scale", "stages.{i}.blocks.{j}.gamma"),
        ("norm.{leaf}", "head.norm.{leaf}"),
        ("head.{leaf}", "head.fc.{leaf}"),
    ),
)

TRANSFORMERS = Layout(
    name="hf",
    pairs=(
        ("stem.conv.{leaf}", "embeddings.patch_embeddings.{leaf}"),
        ("stem.norm.{leaf}", "embeddings.layernorm.{leaf}"),
        ("stages.{i}.downsample.norm.{leaf}", "encoder.stages.{i}.downsampling_layer.0.{leaf}"),
        ("stages.{i}.downsample.conv.{leaf}", "encoder.stages.{i}.downsampling_layer.1.{leaf}"),
        ("stages.{i}.blocks.{j}.depthwise.{leaf}", "encoder.stages.{i}.layers.{j}.dwconv.{leaf}"),
        ("stages.{i}.blocks.{j}.norm.{leaf}", "encoder.stages.{i}.layers.{j}.layernorm.{leaf}"),
        ("stages.{i}.blocks.{j}.expand.{leaf}", "encoder.stages.{i}.layers.{j}.pwconv1.{leaf}"),
        ("stages.{i}.blocks.{j}.response.gamma", "encoder.stages.{i}.layers.{j}.grn.weight"),
        ("stages.{i}.blocks.{j}.response.beta", "encoder.stages.{i}.layers.{j}.grn.bias"),
        ("stages.{i}.blocks.{j}.project.{leaf}", "encoder.stages.{i}.layers.{j}.pwconv2.{leaf}"),
        ("stages.{i}.blocks.{j}.layer_scale", "encoder.stages.{i}.layers.{j}.layer_scale_parameter"),
        ("norm.{leaf}", "layernorm.{leaf}"),
        ("head.{leaf}", "classifier.{leaf}"),
    ),
    gate=(1, 1, 1, -1),
    prefixes=("convnext.", "convnextv2."),
)

_RESPONSE = "stages.{i}.blocks.{j}.response.{rest}"
_VIT = (
    *("stem.{leaf}", "cls_token", "norm.{leaf}", "head.{leaf}"),
    *("blocks.{j}.attention.in_proj_{leaf}", "blocks.{j}.attention.out_proj.{leaf}"),
    *(f"blocks.{{j}}.{part}.{{leaf}}" for part in ("attention_norm", "norm", "expand", "project")),
)
OURS = Layout(
    name="ours",
    pairs=(
        *((ours, ours) for ours, _ in OFFICIAL.pairs if ".response." not in ours),
        (_RESPONSE, _RESPONSE),
        *((ours, ours) for ours in _VIT),
    ),
    prefixes=("encoder.",),
    others=("decoder", "mask_token", "embed", "predict"),
)

LAYOUTS: Registry[Layout] = Registry("layout", {each.name: each for each in (OURS, OFFICIAL, TIMM, TRANSFORMERS)})


def named(tensors: Mapping[str, Tensor], layout: Layout, *, prefix: str = "") -> dict[str, Tensor]:
    """Our tensors in the names and shapes of a layout; `prefix` stands before all but the head.

    Raises ValueError for a tensor that the layout has no place for.
    """
    result = {}
    for ours, value in tensors.items():
        theirs = layout.theirs(ours)
        if theirs is None:
            raise ValueError(f"the layout {layout.name} has no place for {ours}")
        is_gate = ".response." in ours and layout is not OURS
        before = "" if ours.startswith("head.") else prefix
        result[before + theirs] = value.reshape(layout.gate) if is_gate else value
    return result


def _renamed(name: str, pairs: Pairs) -> str | None:
    for pattern, target in pairs:
        if match := _compiled(pattern).fullmatch(name):
            return target.format(**match.groupdict())
    return None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", pattern)  # text and the names of wild cards in turn
    return re.compile(
        "".join(f"(?P<{part}>{_WILD[part]})" if place % 2 else re.escape(part) for place, part in enumerate(parts))
    )
