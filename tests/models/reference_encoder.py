"""The masked encoder, slowly, from its definition: a dense network that masks wherever a removed cell could be seen.

Written in plain torch on (N, C, H, W) maps and a state dict; shares no code with the package.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from tests.models.responses.reference import SLOW


def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """LayerNorm over the channels of each position, biased variance, eps 1e-6 under the root."""
    centred = x - x.mean(dim=1, keepdim=True)
    variance = centred.square().mean(dim=1, keepdim=True)
    return centred / (variance + 1e-6).sqrt() * weight[:, None, None] + bias[:, None, None]


def pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(x, weight[:, :, None, None], bias)


def block(x: Tensor, state: dict[str, Tensor], name: str, visible: Tensor, response: str = "") -> Tensor:
    """One block; the depthwise convolution sees a masked map, and what it spreads beyond is masked again.

    Without a response's name, GRN where the block has its tensors and none where not.
    """
    prefix = f"{name}.response."
    own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    weight, bias = state[f"{name}.depthwise.weight"], state[f"{name}.depthwise.bias"]
    y = F.conv2d(x * visible, weight, bias, padding=3, groups=len(weight)) * visible
    y = norm(y, state[f"{name}.norm.weight"], state[f"{name}.norm.bias"])
    y = F.gelu(pointwise(y, state[f"{name}.expand.weight"], state[f"{name}.expand.bias"]))
    y = SLOW[response or ("grn" if own else "none")](y, visible, own)
    y = pointwise(y, state[f"{name}.project.weight"], state[f"{name}.project.bias"])
    if f"{name}.layer_scale" in state:
        y = y * state[f"{name}.layer_scale"][:, None, None]
    return x + y


def encode(
    images: Tensor,
    removed: Tensor,
    state: dict[str, Tensor],
    depths: tuple[int, ...],
    stem: int,
    response: str = "",
) -> Tensor:
    """(N, C, h, w), zeros at removed cells."""
    stride = stem * 2 ** (len(depths) - 1)
    rows, columns = images.shape[2] // stride, images.shape[3] // stride
    seen = (~removed).to(images.dtype).reshape(-1, 1, rows, columns)
    x = F.conv2d(images, state["stem.conv.weight"], state["stem.conv.bias"], stride=stem)
    x = norm(x, state["stem.norm.weight"], state["stem.norm.bias"])
    for stage, depth in enumerate(depths):
        name = f"stages.{stage}"
        if stage:
            x = norm(x, state[f"{name}.downsample.norm.weight"], state[f"{name}.downsample.norm.bias"])
            x = F.conv2d(x, state[f"{name}.downsample.conv.weight"], state[f"{name}.downsample.conv.bias"], stride=2)
        side = x.shape[2] // rows
        visible = seen.repeat_interleave(side, dim=2).repeat_interleave(side, dim=3)
        for number in range(depth):
            x = block(x, state, f"{name}.blocks.{number}", visible, response)
    return x * seen
