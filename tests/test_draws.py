"""Counter-based random numbers: uniform, independent, and the same for ever."""

from __future__ import annotations

import pytest
import torch

from collapse_lab import draws
from collapse_lab.draws import Draws
from tests.tolerances import PINNED


def of(step: int = 0, purpose: str = "mask", seed: int = 0, count: int = 20_000) -> torch.Tensor:
    return Draws(seed=seed, step=step, index=torch.arange(count)).uniform(purpose, 1)[:, 0]


def test_keys_and_hashes_never_change():
    assert draws.key(0, "mask", 3) == 3_955_248_748_321_938_542
    assert draws.key("3") != draws.key(3)  # a word is not a number
    assert draws.hashed(7, torch.tensor([0, 5]), 2).tolist() == [
        [-8774268681488515761, 5573481420429128725],
        [-5025184365637099984, -1938411941756788203],
    ]


def test_uniform_numbers_never_change():
    numbers = Draws(seed=1, step=2, index=torch.tensor([0, 9])).uniform("mask", 2)
    assert numbers.flatten().tolist() == pytest.approx(
        [0.35635525025711745, 0.01649717669257378, 0.7769943366431231, 0.7863032678329359], rel=PINNED
    )


def test_numbers_are_uniform():
    numbers = of()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = torch.histc(numbers, 20, 0, 1)
    assert (counts - 1000).abs().max() < 5 * 1000**0.5  # five standard deviations
    assert numbers.mean().item() == pytest.approx(0.5, abs=5 * (1 / 12 / 20_000) ** 0.5)


@pytest.mark.parametrize("other", [of(step=1), of(purpose="crop"), of(seed=1), of().roll(1)])
def test_step_purpose_seed_and_neighbour_are_independent(other):
    correlation = torch.corrcoef(torch.stack([of(), other]))[0, 1]
    assert abs(correlation) < 5 / 20_000**0.5


def test_columns_of_one_sample_are_independent():
    numbers = Draws(seed=0, step=0, index=torch.arange(20_000)).uniform("mask", 8)
    off = torch.corrcoef(numbers.T) - torch.eye(8)
    assert off.abs().max() < 5 / 20_000**0.5


def test_a_number_depends_on_its_place_alone():
    whole = Draws(seed=0, step=0, index=torch.arange(10)).uniform("mask", 3)
    some = Draws(seed=0, step=0, index=torch.tensor([7, 2])).uniform("mask", 3)
    assert torch.equal(some, whole[[7, 2]])
    assert torch.equal(Draws(seed=0, step=0, index=torch.arange(10)).uniform("mask", 2), whole[:, :2])


def test_mixing_is_one_to_one():
    values = torch.arange(-50_000, 50_000) * 2**40 + torch.arange(100_000)
    assert len(draws.mix(values).unique()) == len(values.unique())


def test_every_source_of_chance_gives_numbers_of_the_shape_asked_for():
    cpu = torch.device("cpu")
    for source in (None, torch.Generator(), Draws(seed=0, step=0, index=torch.arange(3))):
        numbers = draws.uniform(source, "mask", 3, 4, cpu)
        assert numbers.shape == (3, 4)
        assert 0 <= numbers.min() <= numbers.max() < 1
    with pytest.raises(ValueError, match="draws are for 3 samples, the batch has 2"):
        draws.uniform(source, "mask", 2, 4, cpu)


def test_a_generator_of_its_own_for_every_purpose():
    one, again, other = (torch.rand(3, generator=draws.generator(0, name)) for name in ("a", "a", "b"))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
