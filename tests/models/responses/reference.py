"""The responses, slowly, from their formulas: image by image, on the visible rows alone.

Plain torch on (N, C, H, W) maps and the response's own tensors by name; shares no code with the package.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def rows_of(maps: Tensor, seen: Tensor) -> Tensor:
    """(p, C), the visible positions of one (C, H, W) map; `seen` (H, W) bool."""
    return maps[:, seen].T


def placed(rows: Tensor, maps: Tensor, seen: Tensor) -> Tensor:
    """The rows back at their places, zeros elsewhere."""
    return torch.zeros_like(maps).permute(1, 2, 0).index_put(torch.nonzero(seen, as_tuple=True), rows).permute(2, 0, 1)


def each_image(respond: Callable[[Tensor, State], Tensor]) -> Callable[[Tensor, Tensor, State], Tensor]:
    """A response of the visible rows of one image, on every image; one that has none stays zero."""

    def whole(maps: Tensor, visible: Tensor, state: State) -> Tensor:
        out = []
        for image, seen in zip(maps, visible[:, 0].bool(), strict=True):
            out.append(placed(respond(rows_of(image, seen), state), image, seen) if seen.any() else image * 0)
        return torch.stack(out)

    return whole


def all_images(respond: Callable[[Tensor, State], Tensor]) -> Callable[[Tensor, Tensor, State], Tensor]:
    """A response of the visible rows of the whole batch."""

    def whole(maps: Tensor, visible: Tensor, state: State) -> Tensor:
        masks = visible[:, 0].bool()
        rows = torch.cat([rows_of(image, seen) for image, seen in zip(maps, masks, strict=True)])
        parts = respond(rows, state).split([int(seen.sum()) for seen in masks])
        return torch.stack([placed(*each) for each in zip(parts, maps, masks, strict=True)])

    return whole


def calibrated(rows: Tensor, share: Tensor, state: State) -> Tensor:
    return state["gamma"] * (rows * share) + state["beta"] + rows


def l2(rows: Tensor) -> Tensor:
    return rows.pow(2).sum(dim=0).sqrt()


def over_mean(energy: Tensor) -> Tensor:
    return energy / (energy.mean() + 1e-6)


def grn(maps: Tensor, visible: Tensor, state: State) -> Tensor:
    """ConvNeXt V2, equations 1 to 3, on maps, since it is used most; with gradient 0 at an all-zero channel."""
    energy = (maps * visible).pow(2).sum(dim=(2, 3), keepdim=True)
    length = torch.where(energy > 0, energy.clamp(min=torch.finfo(maps.dtype).tiny).sqrt(), energy * 0)
    share = length / (length.mean(dim=1, keepdim=True) + 1e-6)
    return state["gamma"][:, None, None] * (maps * share) + state["beta"][:, None, None] + maps


def grn_of_rows(rows: Tensor, state: State) -> Tensor:
    return calibrated(rows, over_mean(l2(rows)), state)


def standardised(rows: Tensor, state: State) -> Tensor:
    energy = l2(rows)
    deviation = (energy - energy.mean()).pow(2).mean().sqrt()
    return calibrated(rows, (energy - energy.mean()) / (deviation + 1e-6), state)


def batch_norm(rows: Tensor, state: State) -> Tensor:
    return F.batch_norm(rows, None, None, state["weight"], state["bias"], training=True, eps=1e-5)


def excited(pooled: Tensor, state: State) -> Tensor:
    return state["excite.weight"] @ F.relu(state["reduce.weight"] @ pooled)


def cbam(maps: Tensor, visible: Tensor, state: State) -> Tensor:
    def channels(rows: Tensor, state: State) -> Tensor:
        pooled = excited(rows.mean(dim=0), state) + excited(rows.max(dim=0).values, state)
        return rows * torch.sigmoid(pooled)

    maps = each_image(channels)(maps, visible, state) * visible
    planes = torch.cat([maps.mean(dim=1, keepdim=True), maps.max(dim=1, keepdim=True).values], dim=1)
    return maps * torch.sigmoid(F.conv2d(planes, state["spatial"].transpose(0, 1), padding=3))


SLOW: dict[str, Callable[[Tensor, Tensor, State], Tensor]] = {
    "none": lambda maps, visible, state: maps,
    "grn": grn,
    "grn_batch": all_images(grn_of_rows),
    "grn_avg": each_image(lambda rows, state: calibrated(rows, over_mean(rows.mean(dim=0)), state)),
    "grn_l1": each_image(lambda rows, state: calibrated(rows, over_mean(rows.abs().sum(dim=0)), state)),
    "grn_standardise": each_image(standardised),
    "grn_inverse_sum": each_image(lambda rows, state: calibrated(rows, 1 / (l2(rows).mean() + 1e-6), state)),
    "grn_no_residual": each_image(lambda rows, state: grn_of_rows(rows, state) - rows),
    "affine": each_image(lambda rows, state: calibrated(rows, torch.ones_like(rows), state)),
    "times_g": each_image(lambda rows, state: rows * l2(rows)),
    "times_n": each_image(lambda rows, state: rows * rows / (rows.mean(dim=1, keepdim=True) + 1e-6)),
    "lrn": each_image(lambda rows, state: F.local_response_norm(rows[:, :, None], 5)[:, :, 0]),
    "bn": all_images(batch_norm),
    "ln": each_image(lambda rows, state: F.layer_norm(rows, rows.shape[1:], state["weight"], state["bias"], 1e-6)),
    "se": each_image(lambda rows, state: rows * torch.sigmoid(excited(rows.mean(dim=0), state))),
    "cbam": cbam,
}
