"""An activation that is called as a function is no module: the error says so and what to write."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from collapse_lab.capture.sites import match_sites
from tests.capture.small import observe


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(3, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(3, 3), nn.Sigmoid())
        self.mlp, self.last = MLP(), MLP()

    def forward(self, x: Tensor) -> Tensor:
        y = self.mlp(self.stem(x)).relu()
        return torch.softmax(self.last(y), dim=1)


@pytest.mark.parametrize("pattern", ["mlp.act", "*.act", "class:GELU", "kind:gelu", "**.activation_fn"])
def test_a_functional_activation_is_said_to_be_none_with_the_modules_around_it(pattern):
    with pytest.raises(LookupError, match=r"no site matches") as refused:
        match_sites(Net(), [pattern])
    said = refused.value.args[0]
    gelu = "mlp calls F.gelu inside its forward (and 1 more such calls in this model)" in said
    assert gelu or "Net calls a tensor's relu inside its forward (and 3 more" in said
    if gelu:
        assert "no module and cannot be hooked; the modules around it are mlp.fc1 and mlp.fc2" in said
        assert "capture what goes into the next one, as 'mlp.fc2@input'" in said


def test_what_the_error_says_to_write_is_the_activation():
    model, x = Net(), torch.randn(9, 3)
    expected = F.gelu(model.mlp.fc1(model.stem(x))).mean(dim=0)
    assert torch.allclose(observe(model, [x], sites=["mlp.fc2@input"])["mlp.fc2@input"].mean, expected.double())


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("relu", r"Net calls a tensor's relu inside .* the modules around it are mlp and last; .*as 'last@input'"),
        ("softmax", r"Net calls torch\.softmax inside .* the modules around it are last; capture 'last' \(see"),
    ],
)
def test_methods_and_functions_of_torch_are_found_as_well(pattern, words):
    with pytest.raises(LookupError, match=words):
        match_sites(Net(), [pattern])


def test_a_forward_that_calls_its_module_otherwise_is_read_as_well():
    class Terse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(s, x: Tensor) -> Tensor:  # noqa: N805
            return F.gelu(s.fc(x))

    with pytest.raises(LookupError, match="the modules around it are fc; capture 'fc'"):
        match_sites(Terse(), ["*.act"])


def test_an_activation_with_nothing_beside_it_is_to_become_a_module():
    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = nn.ModuleList([nn.Linear(3, 3)])

        def forward(self, x: Tensor) -> Tensor:
            return F.gelu(self.inside[0](x))

    with pytest.raises(LookupError, match="no module beside it; make it a module of its own"):
        match_sites(Alone(), ["*.act"])


def test_a_module_of_torch_is_not_said_to_call_its_own_function():
    with pytest.raises(LookupError) as refused:
        match_sites(nn.Sequential(nn.Linear(3, 3), nn.GELU()), ["*.gelu"])
    assert "inside its forward" not in refused.value.args[0]


def test_a_forward_without_a_source_is_passed_over():
    made = {}
    exec("from torch import nn\nclass Made(nn.Sequential):\n    def forward(self, x): return x.relu()", made)
    with pytest.raises(LookupError) as refused:
        match_sites(nn.Sequential(made["Made"](nn.Linear(3, 3))), ["*.relu"])
    assert "inside its forward" not in refused.value.args[0]
