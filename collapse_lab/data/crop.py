"""Random-resized crops and flips of whole uint8 batches: which box is f(seed, purpose, step, index), on any device.

Pixels follow torch's bilinear antialias on uint8 (Pillow's, in 16-bit weights; each axis is rounded to 8 bits). The CPU
has a kernel for it that takes one image at a time; elsewhere the same weights multiply a whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import repeat

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from collapse_lab.draws import Draws

AT_ONCE = 256
"""Images multiplied at once: of 256 x 256 pixels they take 200 MB as float32."""
ATTEMPTS = 10
"""Boxes drawn for a sample, of which the first that fits is taken; where none does, the largest in the middle is."""


def augmented(
    images: Tensor,
    drawn: Draws,
    *,
    size: int,
    crop: tuple[float, float] | None,
    ratio: tuple[float, float],
    flip: bool,
) -> Tensor:
    """uint8 (n, C, H, W) -> uint8 (n, C, size, size): a random box of each image scaled to the square, some flipped.

    `crop` is the least and the largest share of the area that a box takes, None for the whole image; `ratio` bounds
    width over height. With neither crop nor flip, images of that size are returned as they are.
    """
    boxes = None if crop is None else random_boxes(drawn, (images.shape[2], images.shape[3]), crop, ratio)
    flips = drawn.uniform("flip", 1)[:, 0] < 0.5 if flip else None
    return resized(images, size, boxes, flips)


def random_boxes(drawn: Draws, side: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]) -> Tensor:
    """(n, 4) int64: top, left, height and width of a box inside (height, width) `side`, in pixels.

    Area uniform in `scale`, width / height log-uniform in `ratio`, place uniform (Szegedy et al., CVPR 2015, as it is
    usually written down: ten attempts, then the largest box of an allowed ratio). Equal on every device.
    """
    numbers = drawn.uniform("crop", 2 * ATTEMPTS + 2)
    high, wide = side
    area = (numbers[:, :ATTEMPTS] * (scale[1] - scale[0]) + scale[0]) * (high * wide)
    low, top = math.log(ratio[0]), math.log(ratio[1])
    aspect = _exp(numbers[:, ATTEMPTS:-2] * (top - low) + low)
    size = torch.stack([(area / aspect).sqrt().round(), (area * aspect).sqrt().round()], dim=2)  # (n, ATTEMPTS, 2)
    limit = _filled((high, wide), size)
    fits = ((size >= 1) & (size <= limit)).all(dim=2)
    first = fits.to(torch.uint8).argmax(dim=1)
    chosen = size[torch.arange(len(size), device=size.device), first]
    chosen = torch.where(fits.any(dim=1, keepdim=True), chosen, _filled(_largest(side, ratio), chosen))
    room = limit - chosen
    middle = torch.where(fits.any(dim=1, keepdim=True), numbers[:, -2:], 0.5)
    corner = torch.minimum((middle * (room + 1)).floor(), room)
    return torch.cat([corner, chosen], dim=1).long()


def resized(images: Tensor, size: int, boxes: Tensor | None = None, flips: Tensor | None = None) -> Tensor:
    """uint8 (n, C, H, W) -> uint8 (n, C, size, size): each image, or its box, scaled and, where `flips`, mirrored.

    The CPU's result lies channels-last in memory, as its kernel writes it. Bit-equal between devices, but for a GPU
    that multiplies in TF32: one grey level.
    """
    if boxes is None and flips is None and images.shape[2:] == (size, size):
        return images
    if boxes is None:
        boxes = _filled((0, 0, *images.shape[2:]), images).long().expand(len(images), 4)
    way = one_by_one if images.device.type == "cpu" else by_matrices
    return way(images, size, boxes, flips)


def one_by_one(images: Tensor, size: int, boxes: Tensor, flips: Tensor | None) -> Tensor:
    """With the CPU's kernel, about 4 times as fast where channels lie last in memory."""
    count, channels = images.shape[:2]
    # numpy asks the system for huge pages; torch's own memory costs a page fault every 4 KiB, twice the kernel's time.
    out = torch.from_numpy(np.empty((count, size, size, channels), dtype=np.uint8)).permute(0, 3, 1, 2)
    turned = [False] * count if flips is None else flips.tolist()
    for place, (top, left, high, wide) in enumerate(boxes.tolist()):
        part = images[place : place + 1, :, top : top + high, left : left + wide]
        if (high, wide) != (size, size):
            part = F.interpolate(part, (size, size), mode="bilinear", antialias=True)
        out[place] = part[0].flip(2) if turned[place] else part[0]
    return out


def by_matrices(images: Tensor, size: int, boxes: Tensor, flips: Tensor | None) -> Tensor:
    """Rows, then columns, of many images times the weights of their boxes; a flip reverses the weights."""
    turned = repeat(None) if flips is None else flips.split(AT_ONCE)
    parts = zip(images.split(AT_ONCE), boxes.split(AT_ONCE), turned, strict=False)
    return torch.cat([_multiplied(part, size, box, flip) for part, box, flip in parts])


def _multiplied(images: Tensor, size: int, boxes: Tensor, flips: Tensor | None) -> Tensor:
    across = box_weights(boxes[:, 1], boxes[:, 3], images.shape[3], size)
    down = box_weights(boxes[:, 0], boxes[:, 2], images.shape[2], size)
    if flips is not None:
        across = torch.where(flips[:, None, None], across.flip(1), across)
    # Pixels of 8 bits by weights of up to 16 digits: sums are exact, whatever their order. Smaller weights have more.
    exact = torch.float32 if max(images.shape[2:]) <= 4 * size else torch.float64
    pixels = images.to(exact, memory_format=torch.contiguous_format)
    lines = torch.bmm(pixels.flatten(1, 2), across.to(exact).transpose(1, 2)).add_(0.5).floor_()  # (n, C H, size)
    lines = lines.view(*images.shape[:3], size)
    return torch.matmul(down.to(exact)[:, None], lines).add_(0.5).floor_().to(torch.uint8)  # (n, C, size, size)


def box_weights(start: Tensor, length: Tensor, side: int, size: int) -> Tensor:
    """(n, size, side) float64: what each pixel of a line of `side` gives to each of `size` pixels of a box's line.

    A triangle as wide as one output pixel, at least as one input pixel, cut off at the box's ends and normalised;
    rounded to as many binary digits as leave the largest weight below 2^15, as torch's kernel has them.
    """
    scale = (length.double() / size)[:, None]  # (n, 1)
    support = scale.clamp(min=1)
    centre = scale * (torch.arange(size, device=start.device) + 0.5)  # (n, size)
    first = (centre - support + 0.5).long().clamp(min=0)
    last = torch.minimum((centre + support + 0.5).long(), length[:, None])
    place = torch.arange(side, device=start.device) - start[:, None, None]  # (n, 1, side)
    inside = (place >= first[..., None]) & (place < last[..., None])
    weight = (1 - ((place - centre[..., None] + 0.5) * (1 / support)[..., None]).abs()).clamp(min=0) * inside
    weight = weight / weight.sum(dim=2, keepdim=True)
    largest = weight.amax(dim=(1, 2))
    digits = (torch.frexp((2**15 - 0.5) / largest).exponent - 1).clamp(max=22)
    one = torch.ldexp(torch.ones_like(largest), digits)[:, None, None]
    return (weight * one + 0.5).floor() / one


def _largest(side: tuple[int, int], ratio: tuple[float, float]) -> tuple[float, float]:
    """Height and width of the largest box whose width over height lies in `ratio`."""
    high, wide = side
    if wide / high < ratio[0]:
        return max(1.0, float(round(wide / ratio[0]))), float(wide)
    if wide / high > ratio[1]:
        return float(high), max(1.0, float(round(high * ratio[1])))
    return float(high), float(wide)


def _filled(values: Sequence[float], like: Tensor) -> Tensor:
    """(k,) float64 made on the device of `like`: it would be waited for where they were copied there."""
    return torch.stack([like.new_full((), value, dtype=torch.float64) for value in values])


def _exp(x: Tensor) -> Tensor:
    """e^x of float64 |x| <= 3 by its series: additions and multiplications alone, which every device rounds alike.

    A library's exp differs in its last bit between devices, and between a full vector and the rest of a batch.
    """
    total = torch.ones_like(x)
    for power in range(36, 0, -1):
        total = total * x / power + 1
    return total
