"""The depthwise convolution of rows in pieces as Triton kernels: rows are read where they lie, nothing is gathered.

A program computes strips, up to eight neighbouring positions of one line of a piece, so that a row once loaded serves
all of a strip that reads it. The gradient of the kernels is summed in chunks of strips and then over chunks: the order
is fixed, and so is the result. Sums are float32, of float64 rows float64. `depthwise.py` holds the same in PyTorch
alone, for every other device and where triton 3.3 or later is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from collapse_lab.shapes import Features

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None
else:
    if not hasattr(tl, "tuple"):  # before 3.3 a kernel could not keep a tuple of sums
        triton = None

BY_KERNEL: frozenset[str] = frozenset()
"""Devices that use the kernels where triton is installed: `{"cuda"}`, or none while nobody has measured them there."""

_Written = TypeVar("_Written", bound=Callable[..., None])
_LONGEST = 8  # of a strip; its sums stay in registers
_PROGRAMS = 300  # of the gradient of the kernels, for each line of a kernel: some for each processor of a large GPU


def available(device: torch.device) -> bool:
    """Whether tensors of this device are convolved by the kernels."""
    return triton is not None and device.type in BY_KERNEL


def convolve(x: Features, weight: Tensor, bias: Tensor, places: Tensor) -> Features:
    """Convolve each channel of (N, P, C) features in pieces with its own odd square kernel (C, 1, k, k).

    `places` (M, h + k - 1, h + k - 1) int32, square pieces as in `Windows`. Under autocast `x` is rounded as `conv2d`
    would round it; kernel and bias, and all sums, are not. The result has the type of `x`, gradients those of their
    tensors; second derivatives are there too.
    """
    kind = x.device.type
    if torch.is_autocast_enabled(kind) and x.dtype != torch.float64:
        x = x.to(torch.get_autocast_dtype(kind))
    side = places.shape[1] - weight.shape[-1] + 1
    taps = weight.flatten(1).t().contiguous()  # (k k, C): channels side by side in memory, as in the rows
    found: Tensor = _convolve(x.flatten(0, 1), taps, bias, places, side)
    return found.reshape(x.shape)


@torch.library.custom_op(
    "collapse_lab::convolve_rows",
    mutates_args=(),
    schema="(Tensor x, Tensor taps, Tensor? bias, Tensor places, int side) -> Tensor",
)
def _convolve(x: Tensor, taps: Tensor, bias: Tensor | None, places: Tensor, side: int) -> Tensor:
    """Rows (R, C), of which side^2 make a piece, with taps (k k, C) and bias (C): (R, C) of the type of `x`."""
    x, taps, places = x.contiguous(), taps.contiguous(), places.contiguous()
    found, known = torch.empty_like(x), _known(x, places, side)
    strips, block, lines = len(x) // known["STRIP"], known["BLOCK"], known["LINES"]
    with torch.cuda.device_of(x):
        _convolve_kernel[(triton.cdiv(strips, lines), triton.cdiv(x.shape[1], block))](
            x, taps, taps if bias is None else bias, places, found, len(x), strips, **known, BIAS=bias is not None
        )
    return found


@torch.library.custom_op(
    "collapse_lab::correlate_rows",
    mutates_args=(),
    schema="(Tensor gradient, Tensor x, Tensor places, int side) -> Tensor",
)
def _correlate(gradient: Tensor, x: Tensor, places: Tensor, side: int) -> Tensor:
    """The gradient of the taps from that of the result and the rows, both (R, C): (k k, C), float32 or float64."""
    gradient, x, places = gradient.contiguous(), x.contiguous(), places.contiguous()
    known, channels = _known(x, places, side), x.shape[1]
    strips, blocks = len(x) // known["STRIP"], triton.cdiv(channels, known["BLOCK"])
    tiles = triton.cdiv(strips, known["LINES"])
    each = max(1, triton.cdiv(tiles, max(1, _PROGRAMS // blocks)))  # tiles of a chunk
    chunks, kernel = triton.cdiv(tiles, each), known["KERNEL"]
    parts = x.new_empty(chunks, kernel**2, channels, dtype=_summed(x))
    with torch.cuda.device_of(x):
        _correlate_kernel[(kernel, chunks, blocks)](gradient, x, places, parts, len(x), strips, each, **known)
    return parts.sum(dim=0)


def _summed(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _known(x: Tensor, places: Tensor, side: int) -> dict[str, Any]:
    """What the kernels know when they are compiled."""
    strip = next(length for length in range(_LONGEST, 0, -1) if side % length == 0)
    block = min((64, 32, 16), key=lambda size: -x.shape[1] % size)  # of channels; the largest that wastes least
    return {
        "CHANNELS": x.shape[1],
        "SIDE": side,
        "KERNEL": places.shape[1] - side + 1,
        "STRIP": strip,
        # Four channels to a thread; with short strips, whose sums need few registers, eight.
        "LINES": (512 if strip >= 4 else 1024) // block,
        "BLOCK": block,
        "SUMS": tl.float64 if x.dtype == torch.float64 else tl.float32,
        "num_warps": 4,
        "enable_fp_fusion": True,  # products are added in one instruction
    }


@_convolve.register_fake
def _(x: Tensor, taps: Tensor, bias: Tensor | None, places: Tensor, side: int) -> Tensor:
    return x.new_empty(x.shape)


@_correlate.register_fake
def _(gradient: Tensor, x: Tensor, places: Tensor, side: int) -> Tensor:
    kernel = places.shape[1] - side + 1
    return x.new_empty((kernel**2, x.shape[1]), dtype=_summed(x))


def _keep_convolve(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, taps, bias, places, ctx.side = inputs
    ctx.bias = None if bias is None else bias.dtype
    ctx.save_for_backward(x, taps, places)


def _back_convolve(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, taps, places = ctx.saved_tensors
    by_x, by_taps, by_bias, *_ = ctx.needs_input_grad
    # Who reads whom goes both ways.
    found_x = _convolve(gradient, taps.flip(0), None, places, ctx.side).to(x.dtype) if by_x else None
    found_taps = _correlate(gradient, x, places, ctx.side).to(taps.dtype) if by_taps else None
    found_bias = gradient.sum(dim=0, dtype=_summed(gradient)).to(ctx.bias) if by_bias else None
    return found_x, found_taps, found_bias, None, None


def _keep_correlate(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    gradient, x, places, ctx.side = inputs
    ctx.save_for_backward(gradient, x, places)


def _back_correlate(ctx: Any, taps: Tensor) -> tuple[Tensor | None, ...]:
    gradient, x, places = ctx.saved_tensors
    by_gradient, by_x, *_ = ctx.needs_input_grad
    found_gradient = _convolve(x, taps, None, places, ctx.side).to(gradient.dtype) if by_gradient else None
    found_x = _convolve(gradient, taps.flip(0), None, places, ctx.side).to(x.dtype) if by_x else None
    return found_gradient, found_x, None, None


_convolve.register_autograd(_back_convolve, setup_context=_keep_convolve)
_correlate.register_autograd(_back_correlate, setup_context=_keep_correlate)


def _jit(written: _Written) -> Any:
    """A number of rows that happens to be a multiple of 16 is no reason to compile again."""
    return written if triton is None else triton.jit(written, do_not_specialize=["rows", "strips", "each"])


@_jit
def _convolve_kernel(
    x: tl.tensor,
    taps: tl.tensor,
    bias: tl.tensor,
    places: tl.tensor,
    found: tl.tensor,
    rows: tl.tensor,
    strips: tl.tensor,
    CHANNELS: tl.constexpr,
    SIDE: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIP: tl.constexpr,
    LINES: tl.constexpr,
    BLOCK: tl.constexpr,
    SUMS: tl.constexpr,
    BIAS: tl.constexpr,
) -> None:
    WIDE: tl.constexpr = SIDE + KERNEL - 1
    strip = tl.program_id(0) * LINES + tl.arange(0, LINES)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < CHANNELS
    first = strip.to(tl.int64) * STRIP
    corner = places + first // (SIDE * SIDE) * (WIDE * WIDE) + first // SIDE % SIDE * WIDE + first % SIDE
    start = tl.zeros((LINES, BLOCK), SUMS)
    if BIAS:
        start += tl.load(bias + channel, mask=inside, other=0).to(SUMS)[None, :]
    sums = (start,) * STRIP  # one for each position of a strip
    for i in range(KERNEL):
        line: tl.tuple = ()
        for j in tl.static_range(KERNEL):
            line = line + (tl.load(taps + (i * KERNEL + j) * CHANNELS + channel, mask=inside, other=0).to(SUMS),)
        for u in tl.static_range(STRIP + KERNEL - 1):
            row = tl.load(corner + i * WIDE + u, mask=strip < strips, other=rows)
            read = (row < rows)[:, None] & inside[None, :]
            value = tl.load(x + row.to(tl.int64)[:, None] * CHANNELS + channel[None, :], mask=read, other=0).to(SUMS)
            added: tl.tuple = ()
            for o in tl.static_range(STRIP):
                if u - o >= 0 and u - o < KERNEL:
                    added = added + (sums[o] + value * line[u - o][None, :],)
                else:
                    added = added + (sums[o],)
            sums = added
    written = (strip < strips)[:, None] & inside[None, :]
    for o in tl.static_range(STRIP):
        at = found + (first + o)[:, None] * CHANNELS + channel[None, :]
        tl.store(at, sums[o].to(found.dtype.element_ty), mask=written)


@_jit
def _correlate_kernel(
    gradient: tl.tensor,
    x: tl.tensor,
    places: tl.tensor,
    parts: tl.tensor,
    rows: tl.tensor,
    strips: tl.tensor,
    each: tl.tensor,
    CHANNELS: tl.constexpr,
    SIDE: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIP: tl.constexpr,
    LINES: tl.constexpr,
    BLOCK: tl.constexpr,
    SUMS: tl.constexpr,
) -> None:
    WIDE: tl.constexpr = SIDE + KERNEL - 1
    i = tl.program_id(0)  # the line of the kernel; those of one chunk run side by side and share what they read
    chunk = tl.program_id(1)
    channel = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < CHANNELS
    sums = (tl.zeros((LINES, BLOCK), SUMS),) * KERNEL  # one for each tap of the line
    for tile in range(chunk * each, (chunk + 1) * each):
        strip = tile * LINES + tl.arange(0, LINES)
        first = strip.to(tl.int64) * STRIP
        corner = places + first // (SIDE * SIDE) * (WIDE * WIDE) + (first // SIDE % SIDE + i) * WIDE + first % SIDE
        exists = (strip < strips)[:, None] & inside[None, :]
        pulls: tl.tuple = ()
        for o in tl.static_range(STRIP):
            at = gradient + (first + o)[:, None] * CHANNELS + channel[None, :]
            pulls = pulls + (tl.load(at, mask=exists, other=0).to(SUMS),)
        for u in tl.static_range(STRIP + KERNEL - 1):
            row = tl.load(corner + u, mask=strip < strips, other=rows)
            read = (row < rows)[:, None] & inside[None, :]
            value = tl.load(x + row.to(tl.int64)[:, None] * CHANNELS + channel[None, :], mask=read, other=0).to(SUMS)
            added: tl.tuple = ()
            for j in tl.static_range(KERNEL):
                if u - j >= 0 and u - j < STRIP:
                    added = added + (sums[j] + value * pulls[u - j],)
                else:
                    added = added + (sums[j],)
            sums = added
    for j in tl.static_range(KERNEL):
        at = parts + ((chunk * KERNEL + i) * KERNEL + j).to(tl.int64) * CHANNELS + channel
        tl.store(at, tl.sum(sums[j], axis=0), mask=inside)
