"""The Triton kernels are the depthwise convolution of visible cells: run on a CPU by Triton's interpreter.

`TRITON_INTERPRET=1 pytest tests/models/test_kernels.py` where triton is installed; `tests/test_gpu.py` compiles them.
"""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor

from collapse_lab.models import kernels
from collapse_lab.models.block import Block
from collapse_lab.models.grid import VisibleCells
from tests.models.networks import distance, ragged_removed, scatter
from tests.tolerances import EXACT32, EXACT64, HALF_ONCE

INTERPRETED = kernels.triton is not None and os.environ.get("TRITON_INTERPRET") == "1"
interpreted = pytest.mark.skipif(not INTERPRETED, reason="no Triton interpreter: needs triton and TRITON_INTERPRET=1")

EVEN = torch.tensor([[False, True, True, False, True, False]] * 3)  # the first and the last of 3 x 2 cells: corners
RAGGED = ragged_removed(3, 6, 0.5, seed=4)
DTYPES = [(torch.float64, EXACT64), (torch.float32, EXACT32), (torch.bfloat16, HALF_ONCE)]


@pytest.fixture
def by_kernel(monkeypatch):
    monkeypatch.setattr(kernels, "BY_KERNEL", frozenset({"cpu"}))


def _inputs(side: int, channels: int, kernel: int, dtype: torch.dtype) -> list[Tensor]:
    """Images of 3 x 2 cells, a kernel and a bias."""
    drawn = torch.Generator().manual_seed(side)
    shapes = ((3, channels, 3 * side, 2 * side), (channels, 1, kernel, kernel), (channels,))
    return [torch.randn(shape, generator=drawn).to(dtype).requires_grad_() for shape in shapes]


def convolved(inputs: list[Tensor], removed: Tensor, side: int) -> list[Tensor]:
    """Map, and the gradients of images, kernel and bias."""
    x, grid = VisibleCells.of(inputs[0], removed, side)
    found = grid.to_map(grid.depthwise(x, *inputs[1:]))
    # Every type holds this gradient exactly.
    pull = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).bfloat16().to(found)
    return [found, *torch.autograd.grad(found, inputs, pull)]


@interpreted
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("removed", [EVEN, RAGGED], ids=["even", "ragged"])
@pytest.mark.parametrize(("side", "channels", "kernel"), [(8, 5, 7), (4, 20, 7), (2, 40, 7), (1, 67, 7), (6, 3, 3)])
def test_values_and_gradients_are_those_of_gathered_windows(
    side, channels, kernel, removed, dtype, tolerance, monkeypatch
):
    inputs = _inputs(side, channels, kernel, dtype)
    expected = convolved(inputs, removed, side)
    monkeypatch.setattr(kernels, "BY_KERNEL", frozenset({"cpu"}))
    for ours, theirs in zip(convolved(inputs, removed, side), expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert distance(ours, theirs) < tolerance


@interpreted
@pytest.mark.parametrize("programs", [1, 2, 3])
def test_the_gradient_of_the_kernel_does_not_depend_on_the_chunks_it_is_summed_in(programs, by_kernel, monkeypatch):
    removed, inputs = ragged_removed(40, 6, 0.5, seed=1), _inputs(1, 16, 3, torch.float64)
    inputs[0] = torch.randn(40, 16, 3, 2, dtype=torch.float64, requires_grad=True)  # four tiles of 64 rows
    expected = convolved(inputs, removed, 1)
    monkeypatch.setattr(kernels, "_PROGRAMS", programs)
    assert max(map(distance, convolved(inputs, removed, 1), expected)) < EXACT64


@interpreted
def test_what_only_fills_up_is_not_read(by_kernel):
    images, weight, bias = _inputs(2, 4, 3, torch.float64)
    x, grid = VisibleCells.of(images.detach(), RAGGED, 2)
    bad = x.masked_fill(~grid.visible[:, :, None], torch.nan)
    assert bad.isnan().any()
    ours, expected = (kernels.convolve(rows, weight, bias, grid._windows(1).places)[grid.visible] for rows in (bad, x))
    assert torch.equal(ours, expected)


@interpreted
def test_second_derivatives_are_right(by_kernel):
    x, grid = VisibleCells.of(_inputs(2, 2, 3, torch.float64)[0].detach()[:2], RAGGED[:2], 2)
    weight, bias = (value.double().detach().requires_grad_() for value in _inputs(2, 2, 3, torch.float32)[1:])
    inputs = (x.requires_grad_(), weight, bias)
    assert torch.autograd.gradgradcheck(lambda *given: grid.to_map(grid.depthwise(*given)), inputs, fast_mode=True)


@interpreted
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_a_block_compiles_in_one_graph_and_is_rounded_as_by_autocast(half, monkeypatch):
    torch.compiler.reset()
    block = Block(6, "grn", 0.5)
    scatter(block, 0)

    def run(forward):
        x, grid = VisibleCells.of(_inputs(2, 6, 7, torch.float32)[0].detach(), RAGGED, 2)
        x.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found = forward(x, grid)
        return [found, *torch.autograd.grad(grid.to_map(found).square().sum(), [x, *block.parameters()])]

    expected = run(block)
    monkeypatch.setattr(kernels, "BY_KERNEL", frozenset({"cpu"}))
    eager, compiled = run(block), run(torch.compile(block, fullgraph=True, backend="aot_eager"))
    assert [value.dtype for value in eager] == [value.dtype for value in expected]
    assert max(map(distance, compiled, eager)) < (HALF_ONCE if half else EXACT32)
    assert max(map(distance, eager, expected)) < (HALF_ONCE if half else EXACT32)


@interpreted
def test_the_operators_say_what_they_do(by_kernel):
    images, weight, bias = _inputs(2, 3, 3, torch.float64)
    x, grid = VisibleCells.of(images.detach(), RAGGED, 2)
    rows, taps, places = x.flatten(0, 1), weight.detach().flatten(1).t().contiguous(), grid._windows(1).places
    assert places.dtype == torch.int32
    torch.library.opcheck(kernels._convolve, (rows.requires_grad_(), taps.requires_grad_(), bias, places, 2))
    torch.library.opcheck(kernels._convolve, (rows, taps, None, places, 2))
    torch.library.opcheck(kernels._correlate, (rows.detach().requires_grad_(), rows, places, 2))


def test_kernels_are_used_on_named_devices_where_triton_is_installed(monkeypatch):
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    monkeypatch.setattr(kernels, "triton", object())
    assert not kernels.available(cuda)
    monkeypatch.setattr(kernels, "BY_KERNEL", frozenset({"cuda"}))
    assert kernels.available(cuda)
    assert not kernels.available(cpu)
    monkeypatch.undo()
    monkeypatch.setattr(kernels, "triton", None)
    assert not kernels.available(cuda)
