"""In which order the axes of a site stand: said, declared, defined by the class, followed from module to module."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from collapse_lab.capture.layouts import Layout
from collapse_lab.capture.scout import Place, survey
from collapse_lab.capture.sites import find_sites
from tests.capture.small import Gives, one
from tests.models.networks import small

MAPS, LAST, TOKENS, ROWS = (
    "image channel height width",
    "image height width channel",
    "image position channel",
    "image channel",
)


def places_of(model: nn.Module, x: Tensor, *names: str, layout: Layout = None) -> dict[str, Place]:
    return {place.name: place for place in survey(model.eval(), names or list(find_sites(model)), one(x), layout)}


def layouts_of(model: nn.Module, x: Tensor, *names: str, layout: Layout = None) -> dict[str, str | None]:
    return {name: place.layout for name, place in places_of(model, x, *names, layout=layout).items()}


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (nn.Conv1d(3, 4, 1), (1, 3, 5), "image channel position"),
        (nn.Conv2d(3, 4, 1), (1, 3, 5, 5), MAPS),
        (nn.Conv3d(3, 4, 1), (1, 3, 5, 5, 5), "image channel depth height width"),
        (nn.ConvTranspose2d(3, 4, 1), (1, 3, 5, 5), MAPS),
        (nn.BatchNorm1d(3), (1, 3), ROWS),
        (nn.BatchNorm1d(3), (1, 3, 5), "image channel position"),
        (nn.BatchNorm2d(3), (1, 3, 5, 5), MAPS),
        (nn.AdaptiveAvgPool2d(1), (1, 3, 5, 5), MAPS),
        (nn.GroupNorm(1, 3), (1, 3, 5, 5), MAPS),
        (nn.InstanceNorm2d(3), (1, 3, 5, 5), MAPS),
        (nn.Linear(3, 4), (1, 3), ROWS),
        (nn.Linear(3, 4), (1, 7, 3), TOKENS),
        (nn.LayerNorm(3), (1, 5, 5, 3), LAST),
        (nn.RMSNorm(3), (1, 7, 3), TOKENS),
        (nn.Flatten(), (1, 3, 5, 5), ROWS),
        (nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (1, 7, 4), TOKENS),
        (nn.TransformerEncoderLayer(4, 2, 8), (7, 1, 4), "position image channel"),
    ],
)
def test_torchs_own_modules_have_the_axes_torch_gives_them(module, shape, expected):
    place = places_of(nn.Sequential(module), torch.randn(shape), "0")["0"]
    assert place.layout == expected
    assert place.fault is None
    assert place.channels == torch.Size(place.shape)[[a for a in expected.split() if a != "image"].index("channel")]


class LayerNorm2d(nn.LayerNorm):
    """As in timm and torchvision: a LayerNorm on channels-first maps."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("module", [nn.ReLU(), LayerNorm2d(3), nn.LayerNorm([3, 5, 5])])
def test_an_unknown_layout_must_be_told_and_the_error_says_how(module):
    fault = str(places_of(nn.Sequential(module), torch.randn(1, 3, 5, 5), "0")["0"].fault)
    assert "of shape (1, 3, 5, 5) and its axis order is not known" in fault
    assert "layout={'0': 'image channel height width'}" in fault
    assert "--layout '0=image channel height width'" in fault


def test_inside_a_sequence_first_transformer_the_image_is_the_second_axis():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 1, enable_nested_tensor=False)
    found = places_of(model, torch.randn(7, 1, 4), "layers.0.linear1", "layers.0.norm1", "layers.0.self_attn")
    assert {place.layout for place in found.values()} == {"position image channel"}
    assert found["layers.0.linear1"].positions == 7


@pytest.mark.parametrize(("batch_first", "expected"), [(True, TOKENS), (False, "position image channel")])
def test_attention_gives_its_output_and_weights_that_are_no_features(batch_first, expected):
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=batch_first)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x)[0]

    x = torch.randn((1, 7, 4) if batch_first else (7, 1, 4))
    names = ("attention@0", "attention@1", "attention@input.1", "attention")
    found = places_of(Attends(), x, *names)
    assert found["attention@0"].layout == found["attention@input.1"].layout == expected
    assert "axis order is not known" in str(found["attention@1"].fault)
    assert "'attention@0' " in str(found["attention"].fault)


def test_modules_that_keep_shapes_take_the_layout_of_the_very_tensor_they_are_given():
    stem = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Identity())
    found = layouts_of(nn.Sequential(stem, nn.GELU()), torch.randn(1, 3, 5, 5))
    assert set(found.values()) == {MAPS}
    assert len(found) == 6


def test_a_layout_is_not_followed_through_what_is_no_module():
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act, self.added = nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return self.added(self.act(y.transpose(1, 3)) + 1)

    found = layouts_of(Turned(), torch.randn(1, 3, 3, 3))  # a cube: sizes would say nothing
    assert found == {"conv": MAPS, "act": None, "added": None}


def test_a_linear_layer_keeps_the_axes_of_the_very_tensor_it_is_given():
    model = nn.Sequential(nn.Identity(), nn.Linear(4, 5))
    said = {"0": "position image channel"}
    assert layouts_of(model, torch.randn(7, 1, 4), "0", "1", layout=said)["1"] == "position image channel"


def test_the_users_word_comes_before_the_models_and_the_models_before_torchs():
    model, x = nn.Sequential(nn.Conv2d(3, 4, 1)), torch.randn(1, 3, 5, 5)
    assert layouts_of(model, x, "0", layout=LAST) == {"0": LAST}
    assert layouts_of(model, x, "0", layout={"*": "image token height channel"}) == {"0": "image token height channel"}
    assert layouts_of(model, x, "0", layout={"class:Conv2d": LAST}) == {"0": LAST}
    assert layouts_of(model, x, "0", layout={"other": "image"}) == {"0": MAPS}
    model.layout = "image height width channel"
    assert layouts_of(model, x, "0") == {"0": LAST}
    model.layout = TOKENS  # what is declared does not fit four axes
    assert layouts_of(model, x, "0") == {"0": MAPS}


def test_a_layout_that_is_said_of_an_output_is_not_said_of_the_input():
    model, x = Gives(lambda x: x[:, :, 0]), torch.randn(1, 3, 5, 4)
    found = layouts_of(model, x, "inside", "inside@input", layout={"inside": TOKENS})
    assert found == {"inside": TOKENS, "inside@input": None}


def test_every_site_of_our_models_is_declared_inside_another_model_too():
    wrapped = nn.Sequential(small(dtype=torch.float32))
    found = layouts_of(wrapped, torch.randn(1, 3, 8, 8))
    assert {name: each for name, each in found.items() if each != TOKENS} == {
        "0": None,
        "0.stages.0": None,
        "0.stages.1": None,
    }
    silent = {name for name, place in places_of(wrapped, torch.randn(1, 3, 8, 8)).items() if not place.calls}
    assert silent == {"0.stages.0", "0.stages.1"}  # whose blocks the model calls itself


def of_class(kind: type[nn.Module], file: str, name: str | None = None) -> type[nn.Module]:
    """The class as if it came from a library that is not installed."""
    return type(name or kind.__name__, (kind,), {"__module__": file})


class Adds(nn.Module):
    """A residual block: what it gives is the output of no other module."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside, self.drop_path = inside, nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.inside(x) * 1)


@pytest.mark.parametrize(
    ("file", "shape", "expected"),
    [
        ("timm.models.convnext", (1, 3, 5, 5), MAPS),
        ("timm.models.resnet", (1, 3, 5, 5), MAPS),
        ("timm.models.swin_transformer", (1, 5, 5, 3), LAST),
        ("timm.models.vision_transformer", (1, 7, 3), TOKENS),
        ("torchvision.models.convnext", (1, 3, 5, 5), MAPS),
        ("torchvision.models.vision_transformer", (1, 7, 3), TOKENS),
        ("timm.models.vision_transformer", (1, 2, 7, 3), None),  # heads of attention
        ("timm.models.unheard_of", (1, 3, 5, 5), None),
    ],
)
def test_blocks_of_known_families_have_the_axes_of_their_family(file, shape, expected):
    block = of_class(Adds, file, "Block")(nn.Identity())
    found = layouts_of(nn.Sequential(block), torch.randn(shape), "0", "0.drop_path", "0@input")
    assert found == {"0": expected, "0.drop_path": expected, "0@input": expected}


@pytest.mark.parametrize(
    ("make", "file", "shape", "expected"),
    [
        (lambda: LayerNorm2d(3), "timm.layers.norm", (1, 3, 5, 5), MAPS),
        (lambda: nn.LayerNorm(3), "timm.layers.norm", (1, 5, 5, 3), LAST),
        (lambda: nn.LayerNorm(3), "timm.layers.norm", (1, 7, 3), TOKENS),
    ],
)
def test_norms_of_timm_are_told_apart_by_their_class(make, file, shape, expected):
    module = make()
    module.__class__ = of_class(type(module), file)
    assert layouts_of(nn.Sequential(module), torch.randn(shape), "0") == {"0": expected}


class GlobalResponseNorm(nn.Identity):
    channel_dim = -1


@pytest.mark.parametrize(("channel_dim", "expected"), [(-1, LAST), (1, MAPS)])
def test_the_grn_of_timm_says_itself_where_its_channels_are(channel_dim, expected):
    module = of_class(GlobalResponseNorm, "timm.layers.grn")()
    module.channel_dim = channel_dim
    assert layouts_of(nn.Sequential(module), torch.randn(1, 3, 3, 3), "0") == {"0": expected}


def test_the_activation_inside_a_batch_norm_has_its_axes():
    class BatchNormAct2d(nn.BatchNorm2d):
        def __init__(self) -> None:
            super().__init__(3)
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(super().forward(x))

    assert layouts_of(nn.Sequential(BatchNormAct2d()), torch.randn(1, 3, 5, 5), "0.act") == {"0.act": MAPS}


class Permute(nn.Module):
    """As in torchvision."""

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.dims)


def test_a_permutation_that_is_a_module_permutes_the_names():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), Permute(0, 2, 3, 1), nn.GELU(), Permute(0, 3, 1, 2))
    assert list(layouts_of(model, torch.randn(1, 3, 5, 5)).values()) == [MAPS, LAST, LAST, MAPS]


def test_windows_of_one_image_are_no_images():
    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(3, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.qkv(x.reshape(-1, 4, 3))

    fault = str(places_of(Windows(), torch.randn(1, 8, 3), "qkv")["qkv"].fault)
    assert "gives 2 images for a batch of 1" in fault
    assert "choose the module around it" in fault
