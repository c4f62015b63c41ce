"""The tensors of a network as others name and shape them, module by module: shares no table with the package.

And the official dense network, slowly, from those names: plain torch on (N, C, H, W) maps.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from collapse_lab.models.convnext import ConvNeXt

State = dict[str, Tensor]


def blocks(model: ConvNeXt) -> Iterator[tuple[int, int, nn.Module]]:
    for i, stage in enumerate(model.stages):
        for j, block in enumerate(stage.blocks):
            yield i, j, block


def both(name: str, module: nn.Module) -> State:
    """Weight and bias of one module."""
    return {f"{name}.weight": module.weight.data, f"{name}.bias": module.bias.data}


def official_state(model: ConvNeXt) -> State:
    state = both("downsample_layers.0.0", model.stem.conv) | both("downsample_layers.0.1", model.stem.norm)
    for i, stage in enumerate(model.stages):
        if i:
            state |= both(f"downsample_layers.{i}.0", stage.downsample.norm)
            state |= both(f"downsample_layers.{i}.1", stage.downsample.conv)
    for i, j, block in blocks(model):
        name = f"stages.{i}.{j}"
        state |= both(f"{name}.dwconv", block.depthwise) | both(f"{name}.norm", block.norm)
        state |= both(f"{name}.pwconv1", block.expand) | both(f"{name}.pwconv2", block.project)
        if hasattr(block.response, "gamma"):
            state[f"{name}.grn.gamma"] = block.response.gamma.data[None, None, None, :]
            state[f"{name}.grn.beta"] = block.response.beta.data[None, None, None, :]
        if block.layer_scale is not None:
            state[f"{name}.gamma"] = block.layer_scale.data
    if model.norm is not None:
        state |= both("norm", model.norm)
    if model.head is not None:
        state |= both("head", model.head)
    return state


def timm_state(model: ConvNeXt, *, convolutions: bool = False) -> State:
    """`convolutions`: the pointwise layers as 1 x 1 convolutions, as in the small models of V1."""
    state = both("stem.0", model.stem.conv) | both("stem.1", model.stem.norm)
    for i, stage in enumerate(model.stages):
        if i:
            state |= both(f"stages.{i}.downsample.0", stage.downsample.norm)
            state |= both(f"stages.{i}.downsample.1", stage.downsample.conv)
    for i, j, block in blocks(model):
        name = f"stages.{i}.blocks.{j}"
        state |= both(f"{name}.conv_dw", block.depthwise) | both(f"{name}.norm", block.norm)
        state |= both(f"{name}.mlp.fc1", block.expand) | both(f"{name}.mlp.fc2", block.project)
        if convolutions:
            for layer in ("fc1", "fc2"):
                state[f"{name}.mlp.{layer}.weight"] = state[f"{name}.mlp.{layer}.weight"][:, :, None, None]
        if hasattr(block.response, "gamma"):
            state[f"{name}.mlp.grn.weight"] = block.response.gamma.data
            state[f"{name}.mlp.grn.bias"] = block.response.beta.data
        if block.layer_scale is not None:
            state[f"{name}.gamma"] = block.layer_scale.data
    if model.norm is not None:
        state |= both("head.norm", model.norm)
    if model.head is not None:
        state |= both("head.fc", model.head)
    return state


def sparse_state(model: ConvNeXt) -> State:
    """The encoder as MinkowskiEngine stores it inside FCMAE, with a decoder beside it."""
    state: State = {}
    for name, value in official_state(model).items():
        stem, _, leaf = name.rpartition(".")
        if name.startswith("downsample_layers.0.") or stem in ("norm", "head"):
            state[f"encoder.{name}"] = value
        elif stem.endswith("dwconv") or (stem.startswith("downsample_layers.") and stem.endswith(".1")):
            kernel = kernel_of(value) if leaf == "weight" else value[None, :]
            state[f"encoder.{stem}.{'kernel' if leaf == 'weight' else 'bias'}"] = kernel
        elif "pwconv" in stem:
            state[f"encoder.{stem}.linear.{leaf}"] = value
        elif stem.endswith("grn"):
            state[f"encoder.{name}"] = value.reshape(1, -1)
        elif name.endswith("gamma"):
            state[f"encoder.{name}"] = value
        else:
            state[f"encoder.{stem}.ln.{leaf}"] = value
    others = {"proj.weight": (8, 6, 1, 1), "mask_token": (1, 8, 1, 1), "decoder.0.grn.gamma": (1, 1, 1, 32)}
    return state | {name: torch.zeros(shape) for name, shape in others.items()}


def kernel_of(weight: Tensor) -> Tensor:
    """(k * k, in, out), or (k * k, C) of a depthwise convolution; the row runs fastest."""
    outs, ins, side, _ = weight.shape
    kernel = torch.empty(side * side, ins, outs, dtype=weight.dtype)
    for row in range(side):
        for column in range(side):
            for out in range(outs):
                for into in range(ins):
                    kernel[row + side * column, into, out] = weight[out, into, row, column]
    depthwise = ins == 1 and side == 7
    return kernel[:, 0] if depthwise else kernel


def official_forward(images: Tensor, state: State, depths: tuple[int, ...], stem: int) -> Tensor:
    """Logits of the official network, V1 or V2."""
    x = F.conv2d(images, state["downsample_layers.0.0.weight"], state["downsample_layers.0.0.bias"], stride=stem)
    x = norm(x, state, "downsample_layers.0.1")
    for i, depth in enumerate(depths):
        if i:
            name = f"downsample_layers.{i}"
            x = norm(x, state, f"{name}.0")
            x = F.conv2d(x, state[f"{name}.1.weight"], state[f"{name}.1.bias"], stride=2)
        for j in range(depth):
            x = x + branch(x, state, f"stages.{i}.{j}")
    x = F.layer_norm(x.mean((2, 3)), x.shape[1:2], state["norm.weight"], state["norm.bias"], eps=1e-6)
    return F.linear(x, state["head.weight"], state["head.bias"])


def norm(x: Tensor, state: State, name: str) -> Tensor:
    last = x.permute(0, 2, 3, 1)
    normed = F.layer_norm(last, last.shape[3:], state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6)
    return normed.permute(0, 3, 1, 2)


def branch(x: Tensor, state: State, name: str) -> Tensor:
    y = F.conv2d(x, state[f"{name}.dwconv.weight"], state[f"{name}.dwconv.bias"], padding=3, groups=x.shape[1])
    y = norm(y, state, f"{name}.norm").permute(0, 2, 3, 1)
    y = F.gelu(F.linear(y, state[f"{name}.pwconv1.weight"], state[f"{name}.pwconv1.bias"]))
    if f"{name}.grn.gamma" in state:
        energy = y.norm(dim=(1, 2), keepdim=True)
        share = energy / (energy.mean(dim=-1, keepdim=True) + 1e-6)
        y = state[f"{name}.grn.gamma"] * (y * share) + state[f"{name}.grn.beta"] + y
    y = F.linear(y, state[f"{name}.pwconv2.weight"], state[f"{name}.pwconv2.bias"])
    return (y * state.get(f"{name}.gamma", torch.ones(()).to(y))).permute(0, 3, 1, 2)
