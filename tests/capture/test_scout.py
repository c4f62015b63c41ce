"""What one image shows of a model before the pass, and what is refused there."""

from __future__ import annotations

import warnings
from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from collapse_lab.capture.firing import require_hookable, watching
from collapse_lab.capture.parts import tensor_at, tensors_in
from collapse_lab.capture.scout import scout, survey
from collapse_lab.capture.sites import find_sites, read_site
from tests.capture.small import Gives, Small, images, one
from tests.models.networks import ragged_removed, random_images, small


def test_a_place_says_what_stands_at_a_site_of_one_image():
    (conv,) = scout(Small(), ["conv"], one(images(1)))
    assert (conv.name, conv.kind, conv.module, conv.calls) == ("conv", "conv", "Conv2d", 1)
    assert (conv.shape, conv.positions, conv.channels) == ((5, 4, 4), 16, 5)
    assert (conv.dtype, conv.layout) == (torch.float64, "image channel height width")
    assert conv.bytes_a_row == 40


def test_places_stand_in_firing_order_and_none_is_named_twice():
    places = scout(Small(), ["head", "*", "conv#0", "act@input"], one(images(1)))
    assert [place.name for place in places] == ["conv", "act@input", "act", "drop", "head"]


def test_a_masked_image_is_scouted_on_its_visible_cells():
    x, removed = random_images(1, 8, 12, seed=0), ragged_removed(1, 6, 0.5, seed=1)
    image = one(x)
    masked = type(image)(image=x, id=image.id, label=None, removed=removed)
    (stem,) = scout(small(), ["stem"], masked)
    assert stem.positions == 4 * int((~removed).sum())


def test_scouting_changes_neither_mode_nor_hooks_nor_gradients():
    model = Small().train()
    scout(model, ["*"], one(images(1)))
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_survey_tells_every_fault_and_a_scout_raises_the_first():
    model = Small()
    model.spare = nn.Linear(2, 2)
    model.act = Gives(lambda x: x.relu() * 1)
    found = {place.name: place for place in survey(model, list(find_sites(model)), one(images(1)))}
    assert [name for name, place in found.items() if place.fault] == ["act.inside", "act", "drop", "spare"]
    assert "axis order is not known" in str(found["drop"].fault)
    assert "never fired" in str(found["spare"].fault)
    with pytest.raises(ValueError, match="these sites never fired in a forward pass: spare; leave them out"):
        scout(model, ["spare", "act"], one(images(1)))
    with pytest.raises(ValueError, match=r"'act' .* axis order is not known"):
        scout(model, ["act"], one(images(1)))


def test_a_module_that_never_runs_is_left_out_of_what_a_pattern_matches_and_said():
    model = Small()
    model.spare = nn.Linear(2, 2)
    with pytest.warns(UserWarning, match="left out, for they never fired in a forward pass: spare"):
        places = scout(model, ["class:Linear", "conv"], one(images(1)))
    assert [place.name for place in places] == ["conv", "head"]
    with pytest.raises(ValueError, match="no site was asked for"):
        scout(model, [], one(images(1)))


def test_a_layout_that_is_said_of_no_site_is_refused():
    with pytest.raises(LookupError, match="layout: no site matches 'cons'; did you mean 'conv'"):
        scout(Small(), ["conv"], one(images(1)), {"cons": "image channel height width"})
    assert scout(Small(), ["conv"], one(images(1)), {"act": "image channel height width"})  # a site that is not chosen


def test_what_the_model_itself_gives_is_a_site_by_its_part():
    class Gives(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Small()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": self.inner(x), "twice": 2 * self.inner.head.weight[None]}

    (place,) = scout(Gives(), ["@logits"], one(images(1)))
    assert (place.name, place.channels, place.layout) == ("@logits", 4, "image channel")
    with pytest.raises(LookupError, match="site '@logit': its output, a dict, has no 'logit'; there is: '@logits'"):
        scout(Gives(), ["@logit"], one(images(1)))
    with pytest.raises(LookupError, match=r"Linear has no module inside; .* module '0' of nn.Sequential\(model\)"):
        scout(nn.Linear(3, 2), ["**"], one(images(1)))


Pair = namedtuple("Pair", "maps pooled")


@dataclass
class Output:
    hidden: Tensor
    extra: Tensor | None = None


X = torch.randn(1, 3, 2, 2)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        (X, "a"),
        ((X, None, 3), "a"),
        ([[X]], "a"),
        (Output(hidden=X), "a"),
        (Output(hidden=X, extra=X + 1), "a@hidden"),
        (Pair(X, X + 1), "a@maps"),
        ({"x.y": X, "x": {"y": X + 1}}, "a@x.y"),
        ({"x": {"y": (X + 1, X)}}, "a@x.y.1"),
        ({"0": X, "mask": X + 1}, "a@input"),
        ({"0": X + 1, "1": X}, "a@input.1"),
        ({"0": X + 1, "hidden": X}, "a@input.hidden"),
    ],
)
def test_the_tensor_at_an_address_is_found_in_whatever_holds_it(value, address):
    assert tensor_at(value, read_site(address)) is X


@pytest.mark.parametrize(
    ("value", "address", "error", "words"),
    [
        (
            {"hidden": X, "pooled": X[0]},
            "enc",
            TypeError,
            r"'enc@hidden' \(1, 3, 2, 2\), 'enc@pooled' \(3, 2, 2\); write",
        ),
        ({"deep": {"a": X, "b": X}}, "enc@deep", TypeError, r"'enc@deep\.a' .*'enc@deep\.b'"),
        ({"hidden": X}, "enc@last", LookupError, r"its output, a dict, has no 'last'; there is: 'enc@hidden' \(1, 3"),
        ({"0": X, "m": X}, "enc@input.1", LookupError, r"inputs have no '1'; there is: 'enc@input' .*, 'enc@input\.m'"),
        ({"m": X}, "enc@input", LookupError, r"its inputs have no '0'; there is: 'enc@input\.m'"),
        ({"ids": X.long()}, "enc", TypeError, r"gives torch\.int64, not floating-point features"),
        ({"n": 3}, "enc", TypeError, "gives a dict, and no tensor in it; choose a module inside it"),
        (None, "enc", TypeError, "gives a NoneType, and no tensor in it"),
        ({}, "enc@key", LookupError, "there is: no floating-point tensor"),
    ],
)
def test_what_is_not_there_is_answered_with_what_to_write(value, address, error, words):
    with pytest.raises(error, match=words):
        tensor_at(value, read_site(address))


def test_every_tensor_has_its_keys():
    assert list(tensors_in({"a": X, "b": (X, [X]), "c": "text"})) == ["a", "b.0", "b.1.0"]


def test_a_scripted_program_and_copies_in_parallel_are_refused_with_the_remedy():
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of torch.jit.script itself
        scripted = torch.jit.script(nn.Sequential(nn.Linear(3, 4)))
    with pytest.raises(ValueError, match="TorchScript program, in which hooks never run; give the module it was made"):
        scout(scripted, ["0"], one(torch.randn(1, 3)))
    parallel = nn.DataParallel(nn.Linear(3, 4))
    require_hookable(parallel, ["module"])
    parallel.device_ids = [0, 1]
    with pytest.raises(ValueError, match=r"runs copies of the model, .* give its \.module"):
        require_hookable(parallel, ["module"])


def test_watching_hands_out_inputs_by_place_and_name():
    class Named(nn.Module):
        def forward(self, x: Tensor, *, mask: Tensor) -> Tensor:
            return x * mask

    model, seen = nn.ModuleDict({"a": Named()}), []
    with watching(model, [("a", True), ("a", False)], seen.append) as fired:
        model["a"](X, mask=X)
    assert list(seen[0].value) == ["0", "mask"]
    assert fired == {("a", True): 1, ("a", False): 1}
