"""The vision transformer and its positions, slowly, from their definitions: an image at a time, visible tokens alone.

Written in plain torch on a state dict; shares no code with the package.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt() * weight + bias


def position(row: int, column: int, channels: int) -> list[float]:
    """Of one token, number by number: the column's sines and cosines, then the row's."""
    quarter = channels // 4
    angles = [[place / 10000 ** (i / quarter) for i in range(quarter)] for place in (column, row)]
    return [f(angle) for axis in angles for f in (math.sin, math.cos) for angle in axis]


def grid_positions(rows: int, columns: int, channels: int) -> Tensor:
    places = [position(row, column, channels) for row in range(rows) for column in range(columns)]
    return torch.tensor(places, dtype=torch.float64)


def attention(x: Tensor, state: dict[str, Tensor], name: str, heads: int) -> Tensor:
    """(T, C): every head by its own softmax."""
    projected = x @ state[f"{name}.in_proj_weight"].T + state[f"{name}.in_proj_bias"]
    query, key, value = projected.split(x.shape[1], dim=1)
    side, found = x.shape[1] // heads, []
    for head in range(heads):
        part = slice(head * side, (head + 1) * side)
        score = query[:, part] @ key[:, part].T / math.sqrt(side)
        weights = score.exp() / score.exp().sum(dim=1, keepdim=True)
        found.append(weights @ value[:, part])
    return torch.cat(found, dim=1) @ state[f"{name}.out_proj.weight"].T + state[f"{name}.out_proj.bias"]


def block(x: Tensor, state: dict[str, Tensor], name: str, heads: int) -> Tensor:
    normed = norm(x, state[f"{name}.attention_norm.weight"], state[f"{name}.attention_norm.bias"])
    x = x + attention(normed, state, f"{name}.attention", heads)
    y = norm(x, state[f"{name}.norm.weight"], state[f"{name}.norm.bias"])
    y = y @ state[f"{name}.expand.weight"].T + state[f"{name}.expand.bias"]
    y = y * (1 + torch.erf(y / math.sqrt(2))) / 2
    return x + y @ state[f"{name}.project.weight"].T + state[f"{name}.project.bias"]


def encode(images: Tensor, removed: Tensor, state: dict[str, Tensor], heads: int) -> tuple[Tensor, Tensor]:
    """The class token (N, C) and every patch (N, L, C), zeros at removed ones."""
    patch, depth = state["stem.weight"].shape[-1], len({name.split(".")[1] for name in state if "blocks." in name})
    embedded = F.conv2d(images, state["stem.weight"], state["stem.bias"], stride=patch)
    rows, columns = embedded.shape[2:]
    places = grid_positions(rows, columns, embedded.shape[1])
    classes, maps = [], []
    for image, gone in zip(embedded, removed, strict=True):
        tokens = image.flatten(1).T + places  # (L, C)
        x = torch.cat([state["cls_token"][None], tokens[~gone]])
        for number in range(depth):
            x = block(x, state, f"blocks.{number}", heads)
        x = norm(x, state["norm.weight"], state["norm.bias"])
        whole = torch.zeros_like(tokens)
        whole[~gone] = x[1:]
        classes.append(x[0])
        maps.append(whole)
    return torch.stack(classes), torch.stack(maps)


def decode(
    cells: Tensor, removed: Tensor, state: dict[str, Tensor], heads: int, size: tuple[int, int], before: Tensor | None
) -> Tensor:
    """(N, L, C) of an encoder -> (N, L, pixels): embed, mask token, positions, blocks, norm, predict."""
    found = []
    depth = len({name.split(".")[2] for name in state if name.startswith("decoder.blocks.")})
    for number, gone in enumerate(removed):
        tokens = cells[number] @ state["embed.weight"].T + state["embed.bias"]
        tokens[gone] = state["mask_token"]
        x = tokens + grid_positions(*size, tokens.shape[1])
        if before is not None:
            x = torch.cat([(before[number] @ state["embed.weight"].T + state["embed.bias"])[None], x])
        for place in range(depth):
            x = block(x, state, f"decoder.blocks.{place}", heads)
        x = norm(x, state["decoder.norm.weight"], state["decoder.norm.bias"])
        x = x if before is None else x[1:]
        found.append(x @ state["predict.weight"].T + state["predict.bias"])
    return torch.stack(found)
