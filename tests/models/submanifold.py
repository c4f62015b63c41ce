"""Submanifold sparse convolution from its definition (Graham & van der Maaten 2017), on lists of coordinates.

One image is a dict {(row, column): vector of channels} that holds active sites and nothing else: what is not in it does
not exist. Plain loops over sites, float64; nothing of the package is used but the values of its parameters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Sites = dict[tuple[int, int], Tensor]
State = dict[str, Tensor]


def active_pixels(image: Tensor, removed: Tensor, side: int) -> Sites:
    """The pixels (C,) of an image (C, H, W) that lie in cells of side x side which are not removed."""
    columns = image.shape[2] // side
    return {
        (row, column): image[:, row, column]
        for row in range(image.shape[1])
        for column in range(image.shape[2])
        if not removed[row // side * columns + column // side]
    }


def norm(sites: Sites, weight: Tensor, bias: Tensor) -> Sites:
    """Over the channels of each site: biased variance, 1e-6 under the root."""
    normed = {}
    for place, x in sites.items():
        centred = x - x.sum() / len(x)
        normed[place] = centred / ((centred * centred).sum() / len(x) + 1e-6).sqrt() * weight + bias
    return normed


def linear(sites: Sites, weight: Tensor, bias: Tensor) -> Sites:
    return {place: weight @ x + bias for place, x in sites.items()}


def gelu(sites: Sites) -> Sites:
    """x times the normal distribution function of x."""
    return {place: x * (1 + torch.erf(x / math.sqrt(2))) / 2 for place, x in sites.items()}


def grn(sites: Sites, gamma: Tensor, beta: Tensor) -> Sites:
    """Equations 1 to 3 of ConvNeXt V2 over the sites of this image, its divisor the mean over channels."""
    length = torch.stack([x * x for x in sites.values()]).sum(dim=0).sqrt()
    share = length / (length.sum() / len(length) + 1e-6)
    return {place: gamma * (x * share) + beta + x for place, x in sites.items()}


def depthwise(sites: Sites, weight: Tensor, bias: Tensor) -> Sites:
    """At each active site the sum over its active neighbours, each times its own tap; no other site comes to be."""
    reach = weight.shape[-1] // 2
    taps = {
        (down, right): weight[:, 0, down + reach, right + reach]
        for down in range(-reach, reach + 1)
        for right in range(-reach, reach + 1)
    }
    convolved = {}
    for row, column in sites:
        pairs = [
            (sites[row + down, column + right], tap)
            for (down, right), tap in taps.items()
            if (row + down, column + right) in sites
        ]
        neighbours, weights = (torch.stack(each) for each in zip(*pairs, strict=True))
        convolved[row, column] = (neighbours * weights).sum(dim=0) + bias
    return convolved


def strided(sites: Sites, weight: Tensor, bias: Tensor) -> Sites:
    """A convolution whose stride is its kernel size: a coarse site is active where any site below it is."""
    side = weight.shape[-1]
    coarse: Sites = {}
    for (row, column), x in sites.items():
        part = weight[:, :, row % side, column % side] @ x
        place = (row // side, column // side)
        coarse[place] = coarse.get(place, bias) + part
    return coarse


def block(sites: Sites, state: State, name: str) -> Sites:
    def of(part: str) -> tuple[Tensor, Tensor]:
        return state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"]

    branch = norm(depthwise(sites, *of("depthwise")), *of("norm"))
    branch = gelu(linear(branch, *of("expand")))
    if f"{name}.response.gamma" in state:
        branch = grn(branch, state[f"{name}.response.gamma"], state[f"{name}.response.beta"])
    branch = linear(branch, *of("project"))
    scale = state.get(f"{name}.layer_scale", 1.0)
    return {place: x + branch[place] * scale for place, x in sites.items()}


def encode_image(image: Tensor, removed: Tensor, state: State, depths: tuple[int, ...], stem: int) -> Sites:
    """The last-stage sites of one image; `removed` (L,) bool, cells row by row."""
    sites = active_pixels(image, removed, stem * 2 ** (len(depths) - 1))
    sites = strided(sites, state["stem.conv.weight"], state["stem.conv.bias"])
    sites = norm(sites, state["stem.norm.weight"], state["stem.norm.bias"])
    for stage, depth in enumerate(depths):
        name = f"stages.{stage}"
        if stage:
            sites = norm(sites, state[f"{name}.downsample.norm.weight"], state[f"{name}.downsample.norm.bias"])
            sites = strided(sites, state[f"{name}.downsample.conv.weight"], state[f"{name}.downsample.conv.bias"])
        for number in range(depth):
            sites = block(sites, state, f"{name}.blocks.{number}")
    return sites
