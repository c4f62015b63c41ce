"""One pass: what is measured, that nothing is left behind, and what is refused."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from collapse_lab.capture import budget
from collapse_lab.capture.store import Capture
from collapse_lab.findings.table import capture
from collapse_lab.stats.accumulate import stats_of, summarise
from collapse_lab.stats.held import group_of
from collapse_lab.stats.layer import LayerStats
from tests.capture.small import LAYOUT, SITES, Gives, Small, images, observe
from tests.models.networks import ragged_removed, random_images, small
from tests.tolerances import EXACT64, ORDER


def trace(whole: LayerStats, left_out: Sequence[LayerStats], sizes: Sequence[int]) -> dict[str, list[float]]:
    assert sum(sizes) == whole.n_images
    return {"trace": [others.scatter.trace().item() for others in left_out]}


def seen(model: nn.Module, *batches: object, **settings: object) -> Capture:
    return observe(model, batches, **{"sites": SITES, "layout": LAYOUT, **settings})


def test_statistics_are_those_of_the_modules_output():
    model, x = Small(), images(20)
    capture = seen(model, x[:7], x[7:], positions=("all", "pooled"))
    maps = model.conv(x).detach()
    expected = stats_of(maps, layout="image channel height width")
    assert torch.allclose(capture["conv", "all"].scatter, expected.scatter, rtol=EXACT64)
    assert torch.allclose(capture["conv", "pooled"].mean, maps.mean(dim=(0, 2, 3)), rtol=EXACT64)
    assert capture["act"].minimum.min() == 0
    assert capture["head"].channels == 4


def test_sites_stand_in_the_order_in_which_they_fire():
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.second, self.first = nn.Linear(4, 4), nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    capture = observe(Backwards(), [torch.randn(9, 3)], sites=["*"])
    assert capture.sites == ["first", "second"]
    assert [capture.depth(site) for site in capture.sites] == [0, 1]


def test_order_and_split_of_the_images_change_nothing():
    model, x = Small(), images(80)
    one = seen(model, x, summarise=trace)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0))
    two = seen(model, *x[order].split(7), summarise=trace)
    for key, stats in one.items():
        assert two[key].images_hash == stats.images_hash
        assert torch.allclose(two[key].scatter, stats.scatter, rtol=ORDER, atol=ORDER * stats.scatter.max().item())
        assert two.replicates[key].sizes == one.replicates[key].sizes
        assert two.replicates[key].values["trace"] == pytest.approx(one.replicates[key].values["trace"], rel=ORDER)


def test_replicates_leave_out_one_group_each():
    model, x, ids = Small(), images(90), torch.arange(90)
    capture = seen(model, {"image": x, "id": ids}, positions=("all",), groups=5, summarise=trace)
    maps, group = model.conv(x).detach(), group_of(ids, 5)
    left_out = [stats_of(maps[group != k], layout="image channel height width") for k in range(5)]
    expected = [others.scatter.trace().item() for others in left_out]
    assert capture.replicates["conv", "all"].values["trace"] == pytest.approx(expected, rel=EXACT64)
    assert capture.replicates["conv", "all"].sizes == group.bincount().tolist()


def test_below_64_images_no_replicates_are_taken():
    assert not seen(Small(), images(63), summarise=trace).replicates
    assert seen(Small(), images(64), summarise=trace).replicates


def test_sites_too_wide_for_groups_have_statistics_and_no_replicates(monkeypatch):
    monkeypatch.setattr(budget, "WIDEST", 4)
    one = seen(Small(), images(80), summarise=trace)
    assert {site for site, _ in one.replicates} == {"head"}  # of 4 channels; the others have 5
    monkeypatch.undo()
    assert torch.allclose(one["conv"].scatter, seen(Small(), images(80))["conv"].scatter, rtol=EXACT64)


@pytest.mark.parametrize("training", [True, False])
def test_the_pass_is_in_evaluation_mode_and_leaves_modes_and_hooks_as_they_were(training):
    model = Small().train(training)
    model.drop.train(not training)
    once, again = seen(model, images(9)), seen(model, images(9))
    assert torch.equal(once["head"].scatter, again["head"].scatter)  # no dropout
    assert (model.training, model.drop.training) == (training, not training)
    assert not any(module._forward_hooks for module in model.modules())


def test_an_exception_inside_the_model_leaves_modes_and_hooks_as_they_were():
    class Broken(Small):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            raise ArithmeticError("inside")

    model = Broken().train()
    with pytest.raises(ArithmeticError, match="inside"):
        seen(model, images(3))
    assert model.training
    assert model.drop.training
    assert not any(module._forward_hooks for module in model.modules())


def test_an_exception_in_the_source_of_images_leaves_no_hook():
    def failing() -> object:
        yield images(3)
        raise OSError("disk")

    model = Small()
    with pytest.raises(OSError, match="disk"):
        observe(model, failing(), sites=["conv"])
    assert not model.conv._forward_hooks
    assert model.training


def test_what_the_source_caches_during_the_pass_can_still_be_trained_on():
    cache = []

    def source() -> object:
        cache.append(images(3))
        yield cache[0]

    model = Small()
    observe(model, source(), sites=["conv"])
    model(cache[0]).sum().backward()
    assert model.conv.weight.grad is not None


def test_a_model_without_parameters_is_measured():
    model = Gives(torch.relu)
    stats = observe(model, [images(5)], sites=["inside"], layout="image channel height width")["inside"]
    assert stats.channels == 3


def test_an_empty_batch_changes_nothing():
    model, x = Small(), images(9)
    with_empty, without = seen(model, x[:0], x, x[:0]), seen(model, x)
    assert torch.equal(with_empty["conv"].scatter, without["conv"].scatter)
    assert with_empty.facts["images"] == 9


def test_repeated_images_are_counted():
    x = images(6)
    assert seen(Small(), x, x[:2]).facts["repeated_images"] == 2


def test_labels_stay_with_the_kept_rows():
    label = torch.arange(12) % 3
    kept = seen(Small(), {"image": images(12), "label": label, "id": torch.arange(12)})["head", "pooled"].rows
    assert torch.equal(kept.label, kept.id % 3)


def test_maps_are_kept_of_the_same_images_at_every_site_in_any_order():
    model, x, ids = Small(), images(20), torch.arange(20)
    order = torch.arange(20).flip(0)
    one = seen(model, {"image": x, "id": ids}, keep_maps=4).maps
    two = seen(model, *({"image": x[part], "id": ids[part]} for part in order.split(3)), keep_maps=4).maps
    for site in SITES:
        assert torch.equal(one.id[site], one.id["conv"])
        assert torch.equal(one.values[site], two.values[site])
    assert one.values["conv"].shape == (4, 16, 5)
    chosen = model.conv(x[one.id["conv"]]).detach().flatten(2).mT.float()
    assert torch.allclose(one.values["conv"], chosen)


def test_maps_of_images_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"gives maps of \(16, 5\) and of \(36, 5\)"):
        seen(Small(), images(2), images(2, side=8), keep_maps=9)


MASKED = ["stem", "stages.0.blocks.0.depthwise", "stages.1.downsample", "stages.1.blocks.*.act", "kind:block"]


@pytest.mark.parametrize("split", [24, 5])
def test_a_masked_pass_holds_visible_positions_only(split):
    model, x = small(), random_images(24, 8, 12, seed=0)
    removed = ragged_removed(24, 6, 0.5, seed=1)
    removed[3] = True  # an image of which nothing is left
    batches = [{"image": x[part], "removed": removed[part], "id": part} for part in torch.arange(24).split(split)]
    capture = observe(model, batches, sites=MASKED, positions=("all", "sampled:3", "pooled"))
    for site in capture.sites:
        rows = [visible_rows(model, x[k : k + 1], removed[k : k + 1], site) for k in range(24)]
        together = torch.cat(rows)
        stats = capture[site, "all"]
        assert stats.n_rows == len(together)
        assert stats.n_images == int((~removed).any(dim=1).sum()) < 24
        expected = stats_of(together, layout="image channel")
        assert torch.allclose(stats.scatter, expected.scatter, rtol=EXACT64, atol=EXACT64)
        pooled = torch.stack([each.mean(dim=0) for each in rows if len(each)])
        assert torch.allclose(capture[site, "pooled"].mean, pooled.mean(dim=0), rtol=EXACT64, atol=EXACT64)


def visible_rows(model: nn.Module, image: Tensor, removed: Tensor, site: str) -> Tensor:
    """One image alone is filled up with nothing: every position its sites give is visible."""
    kept: list[Tensor] = []
    handle = model.get_submodule(site).register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    with torch.no_grad():
        model.forward_masked(image, removed)
    handle.remove()
    return kept[0][0] if not removed.all() else kept[0][0, :0]


def test_a_masked_batch_needs_a_model_that_takes_one():
    removed = torch.zeros(3, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="Small has no forward_masked"):
        seen(Small(), {"image": images(3), "removed": removed})

    class Dense(Small):
        def forward_masked(self, x: Tensor, removed: Tensor) -> Tensor:
            return self.forward(x)

    removed[:, 0] = True
    with pytest.raises(ValueError, match="16 positions for 3 visible cells: it does not hold visible positions only"):
        seen(Dense(), {"image": images(3), "removed": removed})


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda x: (x, x),
            TypeError,
            r"gives a tuple of 2 tensors: 'inside@0' \(1, 3, 6, 6\), 'inside@1' .*; write one",
        ),
        (lambda x: {"n": 3}, TypeError, "site 'inside' gives a dict, and no tensor in it; choose a module inside it"),
        (lambda x: x.long(), TypeError, r"site 'inside' gives torch\.int64, not floating-point features"),
        (lambda x: x[0], ValueError, "site 'inside': a tensor of shape .* names 4"),
        (lambda x: x[:2], ValueError, "gives 2 images for a batch of 3"),
    ],
)
def test_an_output_that_is_no_feature_is_refused_by_name(make, error, words):
    with pytest.raises(error, match=words):
        observe(Gives(make), [images(3)], sites=["inside"], layout="image channel height width")


class Twice(Small):
    """Each of its modules runs twice: on the images, and on the images doubled."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + super().forward(2 * x)


def test_calls_of_a_shared_module_are_sites_of_their_own():
    model, x = Twice(), images(20)
    one = seen(model, x[:9], x[9:], positions=("all",))
    assert one.sites == ["conv#0", "act#0", "head#0", "conv#1", "act#1", "head#1"]
    for site, given in (("conv#0", x), ("conv#1", 2 * x)):
        expected = stats_of(model.conv(given).detach(), layout="image channel height width")
        assert torch.allclose(one[site].scatter, expected.scatter, rtol=EXACT64)
    assert seen(model, x, sites=["conv#1"]).sites == ["conv#1"]
    with pytest.raises(LookupError, match="site 'conv#2': conv runs 2 times in a pass, counted from #0"):
        seen(model, x, sites=["conv#2"])


def test_a_module_called_once_keeps_its_plain_path():
    assert seen(Small(), images(3), sites=["conv#0", "conv"]).sites == ["conv"]


@pytest.mark.parametrize(("first", "words"), [(2, "conv ran 1 times in a pass, but 2 times"), (1, "conv ran 2 times")])
def test_a_number_of_calls_that_changes_from_batch_to_batch_is_refused(first, words):
    class Moody(Small):
        runs = 0

        def forward(self, x: Tensor) -> Tensor:
            self.runs += 1
            twice = (self.runs == 1) == (first == 2)
            return super().forward(x) + (super().forward(x) if twice else 0)

    with pytest.raises(ValueError, match=words):
        seen(Moody(), images(3), sites=["conv"])


def test_an_input_is_what_went_in_before_the_module_changed_it():
    model, x = Small(), images(12)
    model.act = nn.ReLU(inplace=True)
    one = seen(model, x, sites=["act", "act@input", "head@input"], positions=("all",), layout=None)
    assert one.sites == ["act@input", "act", "head@input"]
    maps = model.conv(x).detach()
    expected = stats_of(maps, layout="image channel height width")
    assert torch.allclose(one["act@input"].scatter, expected.scatter, rtol=EXACT64)
    assert one["act@input"].minimum.max() < 0 <= one["act"].minimum.min()
    assert torch.allclose(one["head@input"].mean, maps.relu().mean(dim=(0, 2, 3)), rtol=EXACT64)


def test_channels_last_linear_outputs_are_read_on_the_right_axis():
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.expand = nn.Linear(3, 7, dtype=torch.float64)

        def forward(self, x: Tensor) -> Tensor:
            return self.expand(x.permute(0, 2, 3, 1))

    model, x = Last(), images(10)
    one = observe(model, [x], sites=["expand"], positions=("all",))["expand"]
    assert (one.channels, one.n_rows) == (7, 360)
    expected = stats_of(model(x).detach(), layout="image height width channel")
    assert torch.allclose(one.scatter, expected.scatter, rtol=EXACT64)


@pytest.mark.parametrize(
    ("make", "site"),
    [
        (lambda x: {"maps": x, "scale": 2.0, "places": x.long()}, "inside"),
        (lambda x: {"maps": x, "more": {"deep": x, "twin": x + 1}}, "inside@more.deep"),
        (lambda x: (x + 1, [x]), "inside@1.0"),
    ],
)
def test_a_part_of_an_output_is_captured_by_its_key(make, site):
    x = images(9)
    one = observe(Gives(make), [x], sites=[site], layout="image channel height width", positions=("all",))
    assert one.sites == [site]
    assert torch.allclose(one[site].mean, x.mean(dim=(0, 2, 3)), rtol=EXACT64)


def test_the_first_batch_is_neither_lost_nor_doubled_and_the_source_is_asked_once():
    asked = []

    def source() -> object:
        for part in images(20).split(7):
            asked.append(len(part))
            yield part

    assert observe(Small(), source(), sites=["conv"])["conv"].n_images == 20
    assert asked == [7, 7, 6]


def test_no_activation_and_no_graph_outlives_the_pass():
    alive: list[weakref.ref[Tensor]] = []

    class Remembering(Small):
        def forward(self, x: Tensor) -> Tensor:
            maps = self.act(self.conv(x))
            alive.append(weakref.ref(maps))
            assert not maps.requires_grad
            return self.head(maps.mean(dim=(2, 3)))

    model = Remembering()
    assert all(parameter.requires_grad for parameter in model.parameters())
    kept = seen(model, images(5), images(6, seed=1), sites=["conv", "act", "head"], keep_rows=3)
    gc.collect()
    assert len(alive) == 3  # one image ahead, then two batches
    assert [ref() for ref in alive] == [None] * 3
    assert not kept["head", "pooled"].rows.values.requires_grad


def test_a_model_that_was_captured_in_inference_mode_and_what_was_kept_can_be_trained_on():
    model, x = Caching(), images(6)
    with torch.inference_mode():
        inside = observe(model, [x], sites=["head"], keep_rows=4)
    model(x).sum().backward()  # its table was made during the pass
    assert model.head.weight.grad is not None
    rows = inside["head", "pooled"].rows.values
    probe = nn.Linear(4, 1, dtype=rows.dtype)
    probe(rows).sum().backward()
    assert torch.equal(inside["head"].scatter, observe(model, [x], sites=["head"])["head"].scatter)


class Caching(Small):
    """Multiplies by a table that it makes at the first pass of each size and keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[int, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        table = self.tables.setdefault(len(x), torch.full((len(x), 1), 2.0, dtype=x.dtype))
        return self.head(self.conv(x).mean(dim=(2, 3)) * table)


@pytest.mark.parametrize("masked", [False, True])
def test_our_models_train_after_a_capture(masked):
    model, x = small(), random_images(6, 8, 12, seed=0)
    removed = ragged_removed(6, 6, 0.5, seed=1)
    observe(model, [{"image": x, "removed": removed} if masked else x], sites=["kind:block"])
    model.train()
    (model.forward_masked(x, removed) if masked else model(x)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_site_that_never_fires_is_refused():
    class Bypassed(Small):
        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x)

    with pytest.raises(ValueError, match="these sites never fired in a forward pass: act, head; leave them out"):
        seen(Bypassed(), images(3))


def test_nothing_to_capture_and_unknown_words_are_refused():
    with pytest.raises(ValueError, match="there was no batch, or no image in it"):
        seen(Small(), images(0))
    with pytest.raises(LookupError, match="no site matches 'conf'"):
        seen(Small(), images(3), sites=["conf"])
    with pytest.raises(ValueError, match="position policy"):
        seen(Small(), images(3), positions=("most",))
    with pytest.raises(ValueError, match="its axis order is not known"):
        observe(Gives(torch.relu), [images(3)], sites=["inside"])


def compiled_around() -> nn.Module:
    model = nn.Module()
    model._orig_mod = Small()  # as torch.compile wraps it
    return model


def compiled_in_place() -> nn.Module:
    model = Small()
    model.conv.compile(backend="eager")
    return model


def compiled_below() -> nn.Module:
    model = nn.Sequential(Small())
    model[0].compile(backend="eager")
    return model


@pytest.mark.parametrize(
    ("make", "site", "words"),
    [
        (compiled_around, "_orig_mod", r"the model is a compiled module .*give the module it was compiled from"),
        (compiled_in_place, "conv", r"'conv', on the way to site 'conv', is a compiled module \(module\.compile"),
        (compiled_below, "0.act", r"'0', on the way to site '0\.act', is a compiled module .*capture before compiling"),
    ],
)
def test_a_module_compiled_before_its_hooks_is_refused_with_the_remedy(make, site, words):
    with pytest.raises(ValueError, match=words):
        observe(make(), [images(3)], sites=[site])


def test_beside_a_compiled_module_the_others_are_captured():
    assert seen(compiled_in_place(), images(3), sites=["head"]).sites == ["head"]


def test_images_smaller_than_the_cells_are_refused_before_the_pass():
    with pytest.raises(ValueError, match="smaller than one cell"):
        observe(small(), [random_images(3, 2, 2, seed=0)], sites=["kind:block"])


def test_one_policy_may_be_said_as_a_word():
    found = capture(Small(), [images(3)], sites=SITES, layout=LAYOUT, positions="pooled")
    assert found.positions == ["pooled"]


def test_one_bad_value_in_one_image_leaves_the_others_measured():
    model, x = Small(), images(8)
    x[5, 0, 0, 0] = torch.nan  # reaches the one position of the convolution's output whose window holds it
    stats = seen(model, x, positions=("all",))["conv"]
    assert (stats.bad_values, stats.bad_rows, stats.n_images) == (5, 1, 8)
    clean = summarise(
        model.conv(images(8)).detach().flatten(2).mT,
        torch.arange(8),
        ("all",),
        visible=~((torch.arange(8) == 5)[:, None] & (torch.arange(16) == 0)),
    )["all"]
    assert torch.allclose(stats.scatter, clean.scatter, rtol=EXACT64)


@pytest.mark.parametrize("setting", [{"groups": -1}, {"keep_rows": -1}, {"keep_maps": -2}])
def test_negative_numbers_of_groups_rows_and_maps_are_refused(setting):
    with pytest.raises(ValueError, match="are 0 or more, got"):
        seen(Small(), images(9), **setting)
