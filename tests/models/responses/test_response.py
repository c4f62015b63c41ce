"""What holds for every response: it never reads what only fills up, sees as far as it says, has finite gradients."""

from __future__ import annotations

import pytest
import torch

from collapse_lab.models.grid import AllPositions, VisibleCells
from collapse_lab.models.responses.base import Response
from collapse_lab.models.responses.table import RESPONSES
from collapse_lab.shapes import Features
from tests.models.networks import feature_maps, random_response
from tests.models.responses.reference import SLOW
from tests.tolerances import EXACT64

CHANNELS = 32  # two hidden units for the gates, of which one is alive
ROWS, COLUMNS = 2, 3
REMOVED = torch.tensor(
    [[0, 0, 0, 1, 0, 1], [1, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]], dtype=torch.bool
)  # the last image keeps nothing

every_response = pytest.mark.parametrize("name", RESPONSES)
over_batch = [name for name in RESPONSES if RESPONSES[name].over == "batch"]


def response(name: str) -> Response:
    return random_response(RESPONSES[name], CHANNELS)


def ragged(images: slice = slice(None)) -> tuple[Features, VisibleCells]:
    return VisibleCells.of(feature_maps(len(REMOVED), CHANNELS, ROWS, COLUMNS)[images], REMOVED[images], 1)


def whole() -> tuple[Features, AllPositions]:
    grid = AllPositions(ROWS, COLUMNS)
    return feature_maps(3, CHANNELS, ROWS, COLUMNS).flatten(2).transpose(1, 2), grid


def with_gradients(module: Response, x: Features, grid: VisibleCells) -> list[torch.Tensor]:
    """The visible rows that come out; of a weighted sum of them, the gradients of `x` and of every parameter."""
    x = x.detach().clone().requires_grad_()
    rows = module(x, grid)[grid.visible]
    weights = torch.linspace(-1, 2, rows.numel(), dtype=rows.dtype).reshape(rows.shape)
    return [rows, *torch.autograd.grad((rows * weights).sum(), [x, *module.parameters()])]


@every_response
def test_a_response_keeps_shape_and_type(name):
    x, grid = ragged()
    for dtype in (torch.float64, torch.float32):
        output = response(name).to(dtype)(x.to(dtype), grid)
        assert (output.shape, output.dtype) == (x.shape, dtype)


@every_response
def test_a_response_is_the_identity_at_the_start_if_and_only_if_it_says_so(name):
    x, grid = whole()
    assert torch.equal(RESPONSES[name](CHANNELS).double()(x, grid), x) == RESPONSES[name].identity


@every_response
def test_a_response_is_its_formula_on_the_visible_rows(name):
    module, (x, grid) = response(name), ragged()
    maps, visible = grid.to_map(x), (~REMOVED).double().reshape(-1, 1, ROWS, COLUMNS)
    expected = SLOW[name](maps, visible, dict(module.named_parameters())) * visible
    assert (grid.to_map(module(x, grid)) - expected).abs().max() < EXACT64


@every_response
@pytest.mark.parametrize("fill", [1e9, float("nan"), float("inf")], ids=str)
def test_what_only_fills_up_is_never_read_and_has_no_gradient(name, fill):
    x, grid = ragged()
    absent = ~grid.visible[:, :, None]
    plain = with_gradients(response(name), x, grid)
    filled = with_gradients(response(name), torch.where(absent, fill, x), grid)
    assert all(torch.equal(one, other) for one, other in zip(plain, filled, strict=True))
    assert not filled[1].masked_select(absent).any()


@every_response
def test_a_response_sees_exactly_as_far_as_it_says(name):
    module, (x, grid) = response(name), whole()
    (seen,) = torch.autograd.grad(module(x.requires_grad_(), grid)[0, 0, 0], x)
    reach = {"nothing": seen[0, 0, :1], "position": seen[0, 0, 1:], "image": seen[0, 1:], "batch": seen[1:]}
    assert [where for where, slope in reach.items() if slope.any()][-1] == module.over


@pytest.mark.parametrize("name", [name for name in RESPONSES if name not in over_batch])
def test_an_image_of_a_ragged_batch_gets_what_it_gets_alone(name):
    module, (x, grid) = response(name), ragged()
    together = module(x, grid)
    for image, kept in enumerate(grid.visible.sum(dim=1)[:3]):
        alone = module(*ragged(slice(image, image + 1)))
        assert (alone[0, :kept] - together[image, :kept]).abs().max() < EXACT64


@pytest.mark.parametrize("name", over_batch)
def test_a_response_over_the_batch_takes_all_visible_rows_for_one_image(name):
    module, (x, grid) = response(name), ragged()
    assert (module(x, grid)[grid.visible] - module(x[grid.visible][None])[0]).abs().max() < EXACT64


@every_response
def test_the_order_of_images_does_not_matter(name):
    module, (x, grid) = response(name), ragged()
    order = torch.tensor([3, 1, 0, 2])
    turned, turned_grid = VisibleCells.of(feature_maps(4, CHANNELS, ROWS, COLUMNS)[order], REMOVED[order], 1)
    difference = grid.to_map(module(x, grid))[order] - turned_grid.to_map(module(turned, turned_grid))
    assert difference.abs().max() < EXACT64


@every_response
def test_the_order_of_positions_matters_to_cbam_alone(name):
    module, (x, grid) = response(name), whole()
    order = torch.tensor([3, 1, 4, 0, 5, 2])
    same = (module(x, grid)[:, order] - module(x[:, order], grid)).abs().max() < EXACT64
    assert same == (name != "cbam")


@every_response
def test_gradients_are_the_derivatives(name):
    x, grid = ragged(slice(0, 3))
    module = response(name)
    parameters = dict(module.named_parameters())

    def respond(x, *values):
        return torch.func.functional_call(module, dict(zip(parameters, values, strict=True)), (x, grid))

    assert torch.autograd.gradcheck(respond, (x.requires_grad_(), *parameters.values()), fast_mode=True)


@every_response
@pytest.mark.parametrize("images", [slice(None), slice(3, 4)], ids=["four images", "nothing visible at all"])
def test_all_zero_features_have_finite_values_and_gradients(name, images):
    x, grid = ragged(images)
    x = torch.zeros_like(x).requires_grad_()
    module = response(name)
    output = module(x, grid)
    gradients = torch.autograd.grad(output.sum(), [x, *module.parameters()], allow_unused=True)
    assert all(value.isfinite().all() for value in (output, *gradients))


def test_cbam_without_a_grid_says_what_it_needs():
    with pytest.raises(ValueError, match=r"give it the grid, e.g. AllPositions\(height, width\)"):
        RESPONSES["cbam"](CHANNELS)(torch.zeros(1, 6, CHANNELS))


def test_every_docstring_opens_with_its_formula_and_names_the_reported_accuracy():
    for name in RESPONSES:
        text = RESPONSES[name].__doc__
        assert text.startswith("y = "), name
        assert RESPONSES[name].top1 is None or f"ImageNet {RESPONSES[name].top1}" in text, name


def test_the_reported_accuracies_are_those_of_the_paper():
    assert {name: RESPONSES[name].top1 for name in RESPONSES} == {
        "none": 83.7,
        "grn": 84.6,
        "grn_batch": None,
        "grn_avg": 83.7,
        "grn_l1": 84.3,
        "grn_standardise": 84.5,
        "grn_inverse_sum": 83.8,
        "grn_no_residual": 84.0,
        "affine": 83.9,
        "times_g": 83.9,
        "times_n": None,
        "lrn": 83.2,
        "bn": 80.5,
        "ln": 83.8,
        "se": 84.4,
        "cbam": 84.5,
    }
