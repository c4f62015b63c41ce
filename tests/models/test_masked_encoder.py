"""The visible-only encoder is the masked network of the definition, and never sees a removed cell."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from collapse_lab.models.build import build_model
from collapse_lab.models.convnext import ConvNeXt
from collapse_lab.models.grid import AllPositions, VisibleCells
from collapse_lab.models.responses.table import RESPONSES
from tests.models.networks import distance, ragged_removed, random_images, small
from tests.models.reference_encoder import encode
from tests.tolerances import EXACT32, EXACT64, HALF

TOLERANCES = {torch.float32: EXACT32, torch.float64: EXACT64}
few_examples = settings(max_examples=30, deadline=None, derandomize=True)


def both_ways(model: ConvNeXt, images: Tensor, removed: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Output, gradient of the images and of every parameter: ours, and the reference's, which is always float64."""
    answers = []
    exact = {name: value.detach().double().requires_grad_() for name, value in model.named_parameters()}
    form = [model.architecture[name] for name in ("depths", "stem", "response")]
    for pixels, state, forward in (
        (images.clone(), dict(model.named_parameters()), lambda pixels: model.forward_masked(pixels, removed)),
        (images.double(), exact, lambda pixels: encode(pixels, removed, exact, *form)),
    ):
        output = forward(pixels.requires_grad_())
        # A weighted sum, so that no two positions or channels can be swapped unnoticed.
        weights = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).reshape(output.shape)
        gradients = torch.autograd.grad((output * weights).sum(), [pixels, *state.values()])
        answers.append([output.detach(), *gradients])
    return answers[0], answers[1]


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@given(
    depths=st.lists(st.integers(1, 2), min_size=1, max_size=3).map(tuple),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    count=st.integers(1, 3),
    share=st.sampled_from([0.0, 0.3, 0.6, 0.9]),
    response=st.sampled_from(["grn", "none"]),
    layer_scale=st.sampled_from([None, 0.5]),
    least=st.sampled_from([1, 4]),
    seed=st.integers(0, 99),
)
@few_examples
def test_visible_only_encoder_equals_the_definition_forward_and_backward(
    dtype, depths, rows, columns, count, share, response, layer_scale, least, seed
):
    dims = tuple(8 * 2**stage for stage in range(len(depths)))
    model = small(depths, dims, response=response, layer_scale=layer_scale, dtype=dtype, seed=seed)
    images = random_images(count, rows * model.stride, columns * model.stride, seed=seed, dtype=dtype)
    removed = ragged_removed(count, rows * columns, share, seed=seed)
    if removed.all():
        removed[0, 0] = False
    with mock.patch("collapse_lab.models.grid.LEAST_SIDE", least):  # in pieces, or some of it in whole maps
        ours, reference = both_ways(model, images, removed)
    assert max(map(distance, ours, reference)) < TOLERANCES[dtype]


@pytest.mark.parametrize("response", RESPONSES)
def test_with_every_response_the_encoder_equals_the_definition_and_all_visible_is_dense(response):
    model = small((1, 1, 1), (4, 8, 12), response=response)
    images, removed = random_images(3, 24, 40, seed=10), ragged_removed(3, 15, 0.5, seed=10)
    ours, reference = both_ways(model, images, removed)
    assert max(map(distance, ours, reference)) < EXACT64
    every = torch.zeros_like(removed)
    assert distance(model.forward_masked(images, every), model.forward_features(images)) < EXACT64


@pytest.mark.parametrize("name", ["convnext_digits", "convnext_cifar"])
def test_our_small_models_equal_the_definition(name):
    model = build_model(name, response="grn", layer_scale=None).double()
    ours, reference = both_ways(model, random_images(2, 32, 32, seed=1), ragged_removed(2, 16, 0.6, seed=1))
    assert max(map(distance, ours, reference)) < EXACT64


@pytest.mark.parametrize("side", [16, 64])  # maps below and above the size where the convolution changes its method
def test_all_cells_visible_is_the_dense_network(side):
    model = small((1, 1, 1), (4, 8, 12))
    images = random_images(2, side, side, seed=2)
    removed = torch.zeros(2, (side // model.stride) ** 2, dtype=torch.bool)
    assert distance(model.forward_masked(images, removed), model.forward_features(images)) < EXACT64


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("response", RESPONSES)
def test_changing_removed_pixels_changes_nothing_at_all(response, ragged):
    model = small((1, 1, 1), (4, 8, 12), response=response)
    images = random_images(2, 32, 48, seed=3)
    removed = ragged_removed(2, 24, 0.5, seed=3)
    if not ragged:
        removed[1] = removed[0]
    pixels = removed.reshape(2, 1, 4, 6).repeat_interleave(8, 2).repeat_interleave(8, 3)
    answers = []
    for fill in (0.0, 1e6, float("nan")):
        changed = torch.where(pixels, fill, images).requires_grad_()
        output = model.forward_masked(changed, removed)
        gradients = torch.autograd.grad(output.square().sum(), [changed, *model.parameters()])
        answers.append([output, *gradients])
    for answer in answers[1:]:
        assert all(torch.equal(one, other) for one, other in zip(answers[0], answer, strict=True))
    assert not answers[0][1][pixels.expand_as(images)].any()  # no gradient reaches a removed pixel


def test_removed_cells_are_exactly_zero_and_visible_ones_are_not():
    model = small()
    removed = ragged_removed(3, 12, 0.5, seed=4)
    output = model.forward_masked(random_images(3, 12, 16, seed=4), removed)
    cells = output.flatten(2).abs().sum(dim=1)  # (N, L)
    assert torch.equal(cells == 0, removed)


def test_images_do_not_look_at_each_other():
    model = small((1, 1, 1), (4, 8, 12))
    images, removed = random_images(4, 32, 32, seed=5), ragged_removed(4, 16, 0.6, seed=5)
    removed[2] = True  # one image keeps nothing
    together = model.forward_masked(images, removed)
    for image in range(4):
        alone = model.forward_masked(images[image : image + 1], removed[image : image + 1])
        assert alone.shape == (1, 12, 4, 4)
        assert (alone[0] - together[image]).abs().max() < EXACT64
    order = torch.tensor([3, 0, 2, 1])
    assert torch.equal(model.forward_masked(images[order], removed[order]), together[order])


def test_nothing_visible_in_the_last_row_or_column_keeps_the_shape():
    model = small()
    removed = torch.ones(1, 12, dtype=torch.bool)
    removed[0, 0] = False
    assert model.forward_masked(random_images(1, 12, 16, seed=6), removed).shape == (1, 6, 3, 4)


def test_nothing_visible_at_all_gives_zeros():
    removed = torch.ones(2, 12, dtype=torch.bool)
    assert not small().forward_masked(random_images(2, 12, 16, seed=6), removed).any()


def test_promising_how_many_are_kept_changes_nothing():
    model, images = small(), random_images(2, 12, 16, seed=7)
    removed = torch.ones(2, 12, dtype=torch.bool)
    removed[0, [1, 4, 11]] = removed[1, [0, 2, 3]] = False
    assert torch.equal(model.forward_masked(images, removed, keep=3), model.forward_masked(images, removed))


# The compiler itself makes an instance of every autograd function it meets, and warns of it.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("response", RESPONSES)
def test_the_encoder_compiles_as_one_graph_with_its_gradients(response):
    torch.compiler.reset()  # otherwise every response counts as another compilation of the same encoder
    model, images = small((1,), (4,), response=response), random_images(2, 6, 8, seed=8)
    removed = torch.ones(2, 12, dtype=torch.bool)
    removed[:, [0, 5, 7]] = False

    def gradients(forward):
        return torch.autograd.grad(forward(images, removed, keep=3).square().sum(), list(model.parameters()))

    compiled = torch.compile(model.forward_masked, fullgraph=True, backend="aot_eager")
    for ours, eager in zip(gradients(compiled), gradients(model.forward_masked), strict=True):
        assert distance(ours, eager) < EXACT64


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_whole_maps_and_pieces_compile_in_one_graph(monkeypatch):
    monkeypatch.setattr("collapse_lab.models.grid.LEAST_SIDE", 2)
    torch.compiler.reset()
    model, images = small((1, 1), (4, 6)), random_images(2, 12, 16, seed=8)  # cells of 2 x 2, then of 1 x 1
    removed = torch.ones(2, 12, dtype=torch.bool)
    removed[:, [0, 5, 7]] = False
    compiled = torch.compile(model.forward_masked, fullgraph=True, backend="aot_eager")
    parameters = list(model.parameters())
    ours, eager = (
        torch.autograd.grad(forward(images, removed, keep=3).square().sum(), parameters)
        for forward in (compiled, model.forward_masked)
    )
    assert max(map(distance, ours, eager)) < EXACT64


@pytest.mark.parametrize("response", RESPONSES)
def test_under_autocast_the_encoder_and_its_gradients_are_near_those_of_float32(response):
    model = small((1, 1), (8, 16), response=response, dtype=torch.float32)
    images, removed = random_images(2, 12, 16, seed=8, dtype=torch.float32), ragged_removed(2, 12, 0.5, seed=8)
    found = []
    for half in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            output = model.forward_masked(images, removed)
        found.append([output.float(), *torch.autograd.grad(output.float().square().sum(), list(model.parameters()))])
    assert max(map(distance, found[1], found[0])) < HALF


@pytest.mark.parametrize(
    ("height", "width", "nearest"), [(30, 32, "32 x 32"), (4, 32, "8 x 32"), (21, 44, "24 x 48"), (0, 8, "8 x 8")]
)
def test_sizes_that_cells_do_not_divide_are_refused_with_the_nearest_that_fits(height, width, nearest):
    model = small((1, 1, 1), (4, 8, 12))
    with pytest.raises(ValueError, match=f"nearest size that fits is {nearest}"):
        model.forward_features(torch.zeros(1, 3, height, width, dtype=torch.float64))


def test_a_mask_of_another_shape_or_type_is_refused():
    model, images = small(), random_images(2, 12, 16, seed=9)
    with pytest.raises(ValueError, match=r"bool of shape \(2, 12\)"):
        model.forward_masked(images, torch.zeros(2, 3, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"got torch.float32"):
        model.forward_masked(images, torch.zeros(2, 12))


@pytest.mark.parametrize("side", [1, 2, 4])
def test_values_of_a_map_are_taken_where_the_visible_positions_lie(side):
    """Put back on the map they stand where they stood, with zeros at removed cells."""
    removed = ragged_removed(5, 6, 0.5, seed=1)
    _, grid = VisibleCells.of(torch.zeros(5, 1, 2 * side, 3 * side), removed, side)
    values = 1 + torch.arange(6 * side**2 * 2.0).reshape(-1, 2)  # no zero among them
    whole = AllPositions(2 * side, 3 * side)
    gone = removed.reshape(5, 1, 2, 3).repeat_interleave(side, 2).repeat_interleave(side, 3)
    assert torch.equal(grid.to_map(grid.of_map(values)), whole.to_map(whole.of_map(values)) * ~gone)


def test_the_site_of_the_depthwise_convolution_holds_visible_positions_only():
    model, seen = small(), []
    model.stages[0].blocks[0].depthwise.register_forward_hook(lambda module, given, output: seen.append(output.shape))
    removed = torch.ones(2, 12, dtype=torch.bool)
    removed[:, [0, 5, 7]] = False
    model.forward_masked(random_images(2, 12, 16, seed=9), removed)
    assert seen == [(2, 3 * 2 * 2, 4)]
