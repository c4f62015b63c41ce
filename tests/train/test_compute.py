"""However steps are computed, they are the same steps; what is not, is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from collapse_lab.runs import Run, read_lines
from collapse_lab.train.loop import prepare, train
from collapse_lab.train.place import device_of, entered
from collapse_lab.train.rehearse import _activations
from collapse_lab.train.step import clipped, update
from tests.tolerances import ACCUMULATED, HALF
from tests.train.runs import final_state, tiny


def losses(path: Path) -> list[float]:
    return [line["loss"] for line in read_lines(Run(path).log)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """The run whose batches are computed whole, in float32; only read it."""
    return train(tiny(tmp_path_factory.mktemp("plain") / "run", log_every=1))


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_parts_give_the_loss_of_the_whole_batch(plain, parts, tmp_path):
    train(tiny(tmp_path / "run", log_every=1, compute={"accumulate": parts}))
    assert losses(tmp_path / "run") == pytest.approx(losses(plain), rel=ACCUMULATED)


def test_a_batch_that_its_parts_do_not_divide_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"data.batch = 4 images .* not divided by 1 ranks x 3 parts .* multiple of 3"):
        train(tiny(tmp_path / "run", compute={"accumulate": 3}))
    assert not (tmp_path / "run").exists()


def test_recomputing_what_lies_inside_blocks_changes_no_bit(plain, tmp_path):
    train(tiny(tmp_path / "run", log_every=1, compute={"recompute": True}))
    states = final_state(plain), final_state(tmp_path / "run")
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_recomputing_moves_running_statistics_once(tmp_path):
    states = []
    for recompute in (False, True):
        run = tiny(tmp_path / str(recompute), model={"response": "bn"}, compute={"recompute": recompute})
        states.append(final_state(train(run)))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_recomputing_keeps_less_for_the_gradient(tmp_path):
    kept = {}
    for recompute in (False, True):
        with entered(tiny(tmp_path, compute={"recompute": recompute})) as place:
            ready = prepare(Run(tmp_path), tiny(tmp_path), place)
            kept[recompute] = _activations(ready, place.prepare(ready.objective), ready.part(0, torch.arange(4)))[0]
    assert kept[True] < 0.5 * kept[False]


def test_bf16_computes_products_in_half_and_keeps_weights_whole(plain, tmp_path):
    train(tiny(tmp_path / "run", log_every=1, compute={"precision": "bf16"}))
    found = losses(tmp_path / "run")
    assert found == pytest.approx(losses(plain), rel=HALF)
    assert found != losses(plain)
    assert {value.dtype for value in final_state(tmp_path / "run").values()} == {torch.float32}


def test_float64_is_float64_throughout(tmp_path):
    train(tiny(tmp_path / "run", compute={"precision": "float64"}))
    state = final_state(tmp_path / "run")
    assert {value.dtype for name, value in state.items() if not name.endswith("step")} == {torch.float64}


# The compiler loads what is deprecated in torch itself, and looks at gradients where there are none.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_compiled_blocks_take_the_same_steps_to_rounding(plain, tmp_path):
    train(tiny(tmp_path / "run", log_every=1, compute={"compile": True}))
    assert losses(tmp_path / "run") == pytest.approx(losses(plain), rel=1e-4)


def test_precision_decides_the_run_and_other_ways_of_computing_do_not(tmp_path):
    train(tiny(tmp_path / "run"), on_step=lambda state: state.step == 2)
    with pytest.raises(ValueError, match=r"compute.precision = 'float32' there, 'bf16' here"):
        train(tiny(tmp_path / "run", compute={"precision": "bf16"}))
    with pytest.warns(UserWarning, match="began with 1 parts; with 2 it will not be bit-equal"):
        train(tiny(tmp_path / "run", compute={"accumulate": 2, "recompute": True}))


def test_the_norm_of_all_gradients_is_logged_and_cut_to_its_limit():
    module = torch.nn.Linear(3, 4)
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    whole = clipped(module, 0)
    assert whole.item() == pytest.approx(2 * 16**0.5)
    assert clipped(module, 100.0) == whole
    assert module.bias.grad.eq(2).all()
    clipped(module, 1.0)
    assert clipped(module, 0).item() == pytest.approx(1, rel=1e-5)


def test_an_update_that_is_left_out_does_not_count_as_a_step():
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter], lr=0.1, fused=True)
    for bad, step in ((True, 0), (False, 1), (True, 1)):
        before = parameter.detach().clone()
        parameter.grad = torch.full((3,), float("nan") if bad else 1.0)
        update(optimizer, 0.1, torch.tensor(bad))
        assert torch.equal(parameter, before) == bad
        assert optimizer.state[parameter]["step"] == step


def test_threads_and_the_precision_of_products_are_the_callers_again(tmp_path):
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    with entered(tiny(tmp_path, threads=2, compute={"tf32": True})) as place:
        assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (2, "high")
        assert (place.ranks.rank, place.ranks.world) == (0, 1)
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(ValueError, match="device 'tpu' cannot be used here"):
        device_of("tpu")
    assert device_of("cpu") == torch.device("cpu")
