"""The monitor in a loop: what it measures and when, and that the training does not notice."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from collapse_lab.findings.monitor import Monitor
from collapse_lab.findings.table import COLUMNS, analyze, capture, checked, read_table
from collapse_lab.metrics._metric import HEADLINE
from tests.capture.small import LAYOUT, Small, images
from tests.findings.watched import FALL, METRICS, watched


class Normed(Small):
    """With everything that a pass could leave its mark on: running statistics, dropout, a draw of its own."""

    def __init__(self) -> None:
        super().__init__(torch.float32)
        self.norm = nn.BatchNorm2d(5)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.drop(self.act(self.norm(self.conv(x)))).mean(dim=(2, 3)))
        return logits + 0 * torch.rand(1)


def after(watching: Callable[[int, nn.Module], object], steps: int = 5) -> tuple[Normed, Tensor]:
    """A network trained for a few steps, and the state of the random numbers afterwards."""
    torch.manual_seed(0)
    model = Normed().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(steps):
        model(images(8, seed=step).float()).square().mean().backward()
        watching(step, model)  # with the gradients there
        optimizer.step()
        optimizer.zero_grad()
    return model, torch.get_rng_state()


def test_a_training_that_is_watched_ends_in_the_same_bits():
    watches: list[Monitor] = []

    def watch(step: int, model: nn.Module) -> None:
        if not watches:
            watches.append(watched(model, images=images(20).float(), every=1))
        gradients = [parameter.grad.clone() for parameter in model.parameters()]
        watches[0](step)
        assert all(map(torch.equal, gradients, [parameter.grad for parameter in model.parameters()]))
        assert model.training
        assert model.drop.training
        assert not any(module._forward_hooks for module in model.modules())

    (plain, random), (seen, random_seen) = after(lambda *_: None), after(watch)
    assert len(watches[0].table()) == 5 * 2 * len(METRICS)
    assert plain.state_dict().keys() == seen.state_dict().keys()  # running mean, variance and count among them
    assert all(map(torch.equal, plain.state_dict().values(), seen.state_dict().values()))
    assert torch.equal(random, random_seen)


def test_no_graph_is_kept_alive():
    model = Small()
    held: list[Tensor] = []
    model.head.register_forward_hook(lambda _module, _inputs, output: held.append(output))
    watched(model)(0)
    assert not any(output.requires_grad for output in held)


def test_it_measures_at_the_first_call_and_at_multiples_of_every():
    with watched(Small(), every=4) as watch:
        for step in range(3, 13):
            watch(step)
    assert sorted(watch.table().step.unique()) == [3, 4, 8, 12]


def test_between_checks_the_model_is_not_run():
    model, calls = Small(), []
    model.conv.register_forward_hook(lambda *_: calls.append(1))
    watch = watched(model, every=1000)
    watch(1)
    first = len(calls)
    for step in range(2, 1000):
        watch(step)
    assert len(calls) == first > 0


def test_rows_are_those_of_an_analysis_of_the_same_images():
    model, x = Small(), images(70)
    table = watched(model, images=x, metrics=HEADLINE, positions=("sampled:4", "pooled"))
    table(0)
    seen = capture(model, [x], sites=["conv", "head"], positions=("sampled:4", "pooled"), groups=0, keep_rows=4096)
    expected = analyze(seen, metrics=HEADLINE)
    pd.testing.assert_frame_equal(checked(table.table()), expected, check_frame_type=False)


def test_a_table_of_no_check_has_its_columns():
    assert tuple(watched(Small()).table().columns) == COLUMNS


@pytest.mark.parametrize(
    "given",
    [
        images(20),
        (images(20), torch.arange(20) % 3),
        [images(20), torch.arange(20) % 3],
        {"image": images(20), "label": torch.arange(20) % 3},
        [images(20)[:7], images(20)[7:]],
        [(images(20)[:7], torch.arange(7)), (images(20)[7:], torch.arange(13))],
        (batch for batch in images(20).split(6)),
    ],
)
def test_one_batch_in_any_form_and_batches_in_any_split_are_the_same_images(given):
    one, other = watched(Small()), watched(Small(), images=given)
    one(0), other(0)
    assert set(one.table().images_hash) == set(other.table().images_hash)
    assert other.table().value.to_numpy() == pytest.approx(one.table().value.to_numpy(), rel=1e-9)


def test_images_of_a_loader_are_read_once():
    class Loader:
        reads = 0

        def __iter__(self) -> Any:
            self.reads += 1
            yield images(9)

    loader = Loader()
    watch = watched(Small(), images=loader, every=1)
    for step in range(3):
        watch(step)
    assert loader.reads == 1


def test_autocast_around_the_loop_does_not_change_the_values():
    model, x = Small(torch.float32), images(20).float()
    plain, inside = watched(model, images=x), watched(model, images=x)
    plain(0)
    with torch.autocast("cpu", torch.bfloat16):
        inside(0)
        assert model.head(torch.ones(1, 5)).dtype == torch.bfloat16  # and is on again afterwards
    pd.testing.assert_frame_equal(plain.table(), inside.table())


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A group of this process alone, for what wants one."""
    store = tmp_path_factory.mktemp("group") / "store"
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def compiled(model: nn.Module) -> nn.Module:
    whole: nn.Module = torch.compile(model, backend="eager")
    return whole


WRAPPERS = [DistributedDataParallel, nn.DataParallel, compiled, lambda model: nn.DataParallel(compiled(model))]


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("wrap", WRAPPERS)
def test_a_wrapped_model_is_watched_by_the_names_of_what_it_wraps(wrap):
    model = Small()
    plain, seen = watched(model), watched(wrap(model))
    plain(0), seen(0)
    pd.testing.assert_frame_equal(plain.table(), seen.table())


def test_an_exception_in_the_loop_leaves_a_clean_model_and_whole_files(tmp_path):
    model = Small().train()

    def loop() -> None:
        with watched(model, run=tmp_path) as watch:
            for step in range(9):
                watch(step)
                if step == 5:
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop()
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert sorted(read_table(tmp_path / "monitor.parquet").step.unique()) == [0, 2, 4]
    assert not (tmp_path / "monitor").exists()


def test_an_exception_in_the_pass_leaves_modes_random_numbers_and_autocast_as_they_were():
    model = Small().train()
    model.head.register_forward_hook(lambda *_: 1 / torch.rand(1).item() / 0)
    before = torch.get_rng_state()
    with torch.autocast("cpu", torch.bfloat16):
        with pytest.raises(ZeroDivisionError):
            watched(model)(0)
        assert torch.is_autocast_enabled("cpu")
    assert model.training
    assert len(model.head._forward_hooks) == 1  # ours
    assert torch.equal(torch.get_rng_state(), before)


def shrink(model: Small, share: float) -> None:
    """Less variance beside the bias: the share falls, and rises again."""
    model.conv.weight.data.mul_(share)


def test_a_rule_is_judged_live_and_asks_to_stop_as_long_as_it_is_on():
    model = Small()
    model.conv.bias.data.fill_(1.0)
    watch = watched(model, every=1, metrics=("stable_rank",), rules=[f"{FALL}, stop"])
    assert [watch(0), watch(1)] == [False, False]
    shrink(model, 0.5)
    assert watch(2)
    assert [alert.state for alert in watch.new] == ["on"]
    assert watch(3)
    assert (watch.new, [alert.step for alert in watch.stops]) == ([], [2])
    shrink(model, 2.0)
    assert not watch(4)
    assert [(alert.step, alert.state) for alert in watch.alerts] == [(2, "on"), (4, "off")]
    assert watch.new == watch.alerts[1:]
    assert "variance_share" in set(watch.table().metric)  # a rule's metric is measured without asking


def test_untrained_may_be_a_network_and_is_then_step_zero():
    model = Small()
    model.conv.bias.data.fill_(1.0)
    before = copy.deepcopy(model)
    shrink(model, 0.5)
    rules = ["variance_share of conv fell 1 % below the untrained value"]
    watch = watched(model, untrained=before, rules=rules)
    watch(1)
    assert watch.alerts == []
    watch(2)
    assert [(alert.step, alert.state) for alert in watch.alerts] == [(2, "on")]
    assert sorted(watch.table().step.unique()) == [0, 2]
    reference = watched(before)
    reference(0)
    first = watch.table()[watch.table().step == 0]
    assert first.value.tolist() == reference.table().value.tolist()


def test_untrained_may_be_a_table():
    model = Small()
    model.conv.bias.data.fill_(1.0)
    before = watched(model)
    before(0)
    shrink(model, 0.5)
    rules = ["variance_share of conv fell 1 % below the untrained value"]
    watch = watched(model, untrained=before.table(), rules=rules)
    watch(1)
    assert [(alert.step, alert.state) for alert in watch.alerts] == [(1, "on")]


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"every": 0}, ValueError, "every is a number of steps"),
        ({"sites": ["nowhere"]}, LookupError, "no site matches 'nowhere'"),
        ({"metrics": ["efective_rank"]}, LookupError, "did you mean 'effective_rank'"),
        ({"images": []}, ValueError, "there are no images"),
        ({"images": images(0)}, ValueError, "there are no images"),
        ({"images": "folder"}, TypeError, "must be a tensor, got str"),
        ({"rules": ["collapse"]}, ValueError, "METRIC of SITES"),
        ({"rules": ["stable_rank of act is below 3"]}, LookupError, "no watched site matches 'act'"),
        ({"untrained": pd.DataFrame({"value": [1.0]})}, ValueError, "no table of metrics"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_training(settings, error, says):
    with pytest.raises(error, match=says):
        watched(Small(), **settings)


def test_a_rule_on_a_metric_without_a_value_is_refused_at_the_first_check():
    watch = watched(Small(), rules=["class_variance_share of conv is above 0.5"], layout=LAYOUT)
    with pytest.raises(ValueError, match="class_variance_share has no value at its sites"):
        watch(0)


def test_steps_count_on():
    watch = watched(Small())
    watch(4)
    assert not watch(4)  # measured already
    with pytest.raises(ValueError, match="step 3 comes after step 4"):
        watch(3)
    with pytest.raises(ValueError, match="step -1"):
        watched(Small())(-1)
    assert len(watch.table().step.unique()) == 1
