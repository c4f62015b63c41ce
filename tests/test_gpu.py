"""What must hold on a CUDA device: `pytest -m gpu`. Without one every test here is skipped by name."""

from __future__ import annotations

from functools import partial

import pandas as pd
import pytest
import torch

import collapse_lab as cl
from collapse_lab.data.crop import augmented, random_boxes
from collapse_lab.draws import Draws
from collapse_lab.models import kernels
from collapse_lab.models.block import Block
from collapse_lab.models.grid import VisibleCells
from collapse_lab.models.responses.table import RESPONSES
from collapse_lab.objectives.decoders import DECODERS
from collapse_lab.objectives.fcmae import FCMAE
from collapse_lab.objectives.mae import MAE
from collapse_lab.runs import Run
from collapse_lab.study.jobs import jobs_of
from collapse_lab.study.work import work
from tests.models.networks import distance, ragged_removed, scatter, small
from tests.models.test_kernels import DTYPES, convolved
from tests.pictures import small_study, write_pictures
from tests.tolerances import EXACT64, HALF
from tests.train.runs import final_state, tiny
from tests.train.test_nonfinite import bad_at
from tests.train.together import under

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS"),  # the thread of the backward pass may be its first
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),  # said once, wherever it is set
]


def _model() -> torch.nn.Module:
    return cl.build_model("convnext_digits", response="grn", layer_scale=None).double().eval()


def test_the_visible_only_encoder_is_the_same_on_both_devices():
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    removed = torch.rand(4, 16) < 0.6
    model = _model()
    with torch.no_grad():
        here = model.forward_masked(images, removed)
        there = model.cuda().forward_masked(images.cuda(), removed.cuda())
    torch.testing.assert_close(there.cpu(), here, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("response", RESPONSES)
def test_the_encoder_with_any_response_is_the_same_on_both_devices(response):
    images, removed = torch.randn(3, 3, 24, 40, dtype=torch.float64), ragged_removed(3, 15, 0.5, seed=0)
    model = small((1, 1, 1), (4, 8, 12), response=response)
    with torch.no_grad():
        here = model.forward_masked(images, removed)
        there = model.cuda().forward_masked(images.cuda(), removed.cuda())
    torch.testing.assert_close(there.cpu(), here, rtol=1e-8, atol=1e-10)


@pytest.fixture
def by_kernel(monkeypatch):
    monkeypatch.setattr(kernels, "BY_KERNEL", frozenset({"cuda"}))


with_triton = pytest.mark.skipif(kernels.triton is None, reason="triton is not installed")


@with_triton
@pytest.mark.filterwarnings("default")  # the compiler warns of its own
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("channels", [40, 128])
@pytest.mark.parametrize("side", [8, 4, 2, 1])
def test_the_kernels_are_the_convolution_in_float64_on_the_cpu(side, channels, dtype, tolerance, by_kernel):
    shapes = ((40, channels, 3 * side, 2 * side), (channels, 1, 7, 7), (channels,))
    rounded = [torch.randn(shape, generator=torch.Generator().manual_seed(side)).to(dtype) for shape in shapes]
    removed = ragged_removed(40, 6, 0.5, seed=1)
    there = convolved([value.cuda().requires_grad_() for value in rounded], removed.cuda(), side)
    here = convolved([value.double().requires_grad_() for value in rounded], removed, side)
    for ours, exact in zip(there, here, strict=True):
        assert ours.dtype == dtype
        assert distance(ours.cpu().double(), exact) < tolerance
    again = convolved([value.cuda().requires_grad_() for value in rounded], removed.cuda(), side)
    assert all(map(torch.equal, again, there))


def _through_block(forward, block, half):
    """Result of a block on ragged cells, and the gradients of its input and its parameters."""
    images = torch.randn(6, 24, 12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    images = images.to(next(block.parameters()).dtype)
    x, grid = VisibleCells.of(images.cuda(), ragged_removed(6, 6, 0.5, seed=1).cuda(), 4)
    x.requires_grad_()
    with torch.autocast("cuda", torch.bfloat16, enabled=half):
        found = forward(x, grid)
    return [found, *torch.autograd.grad(grid.to_map(found).square().sum(), [x, *block.parameters()])]


@with_triton
@pytest.mark.filterwarnings("default")  # the compiler warns of its own
@pytest.mark.parametrize(("dtype", "half", "tolerance"), [(torch.float64, False, EXACT64), (torch.float32, True, HALF)])
def test_a_block_by_kernels_is_the_block_without_and_compiles_in_one_graph(
    dtype, half, tolerance, by_kernel, monkeypatch
):
    torch.compiler.reset()
    block = Block(24, "grn", 0.5)
    scatter(block, 0)
    block.to("cuda", dtype)
    eager = _through_block(block, block, half)
    compiled = _through_block(torch.compile(block, fullgraph=True), block, half)
    monkeypatch.setattr(kernels, "BY_KERNEL", frozenset())
    without = _through_block(block, block, half)
    for one, other, third in zip(eager, compiled, without, strict=True):
        assert one.dtype == other.dtype == third.dtype
        assert max(distance(other, one), distance(one, third)) < tolerance


AUTOENCODERS = {
    **{decoder: partial(FCMAE, decoder=decoder, decoder_dim=16) for decoder in DECODERS},
    "dense": partial(FCMAE, convolution="dense", decoder_dim=16),
    "mae": partial(MAE, decoder_dim=16, decoder_depth=1, decoder_heads=2),
}


@pytest.mark.parametrize("method", AUTOENCODERS)
def test_the_loss_and_its_gradients_are_the_same_on_both_devices(method):
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    removed = torch.zeros(4, 16, dtype=torch.bool)
    removed[:, ::2] = True
    found = []
    for device in ("cpu", "cuda"):
        encoder = cl.build_model("vit_tiny", patch=8, depth=2, widths=(24,)) if method == "mae" else _model()
        objective = AUTOENCODERS[method](encoder).double().to(device)
        loss = objective(images.to(device), removed=removed.to(device)).loss
        loss.backward()
        found.append([loss.detach().cpu(), *(parameter.grad.cpu() for parameter in objective.parameters())])
    for here, there in zip(*found, strict=True):
        torch.testing.assert_close(there, here, rtol=1e-8, atol=1e-12)


def test_a_capture_gives_the_same_table_on_both_devices():
    images = torch.randn(80, 3, 32, 32, dtype=torch.float64)
    tables = []
    for device in ("cpu", "cuda"):
        captured = cl.capture(_model().to(device), images.split(32), sites=["kind:block", "kind:act"])
        tables.append(cl.analyze(captured).drop(columns=["replicates", "group_sizes"]))
    pd.testing.assert_frame_equal(tables[0], tables[1], rtol=1e-8, atol=1e-10)


def test_a_monitor_gives_the_same_table_on_both_devices_and_leaves_their_random_numbers():
    images = torch.randn(80, 3, 32, 32, dtype=torch.float64)
    tables = []
    for device in ("cpu", "cuda"):
        model = _model().to(device)
        model.register_forward_hook(lambda _module, given, _output: torch.rand(1, device=given[0].device))
        before = torch.cuda.get_rng_state()
        watch = cl.monitor(model, sites=["kind:block"], images=images)
        with torch.autocast(device, torch.bfloat16):
            watch(0)
        assert torch.equal(torch.cuda.get_rng_state(), before)
        tables.append(watch.table())
    pd.testing.assert_frame_equal(tables[0], tables[1], rtol=1e-8, atol=1e-10)


def test_a_run_uses_the_device_without_being_told(tmp_path):
    study = small_study(write_pictures(tmp_path / "pictures"), seeds=(0,))
    values = study.model_dump()
    values["config"]["device"] = "auto"
    job = jobs_of(study.model_validate(values), tmp_path / "runs")[0]
    work(job)
    assert Run(job.run.path).read()["device"].startswith("cuda")
    assert job.finished()


@pytest.mark.parametrize("data", [{}, {"crop": [0.2, 1.0], "flip": True}], ids=["whole", "cropped"])
def test_a_step_of_training_waits_for_the_device_only_where_it_is_logged_or_saved(tmp_path, data):
    """With the debug mode on, anything that waits raises; it is off for the steps that may."""
    settings = {"steps": 9, "log_every": 4, "save": {"every": 8}, "compute": {"precision": "bf16"}, "data": data}
    config = tiny(tmp_path / "run", device="cuda", **settings)

    def allow(state):
        waits = (state.step + 1) % 4 == 0 or state.step + 1 == 9
        torch.cuda.set_sync_debug_mode("default" if waits else "error")

    try:
        cl.train(config, on_step=allow)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert Run(tmp_path / "run").read()["status"] == "finished"


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_bad_step_is_left_out_on_the_device_and_told_at_the_next_reading(tmp_path, precision):
    config = tiny(tmp_path / "run", device="cuda", on_nonfinite="skip", compute={"precision": precision})
    with pytest.warns(UserWarning, match="the loss of step 4 is not finite, its update is left out"):
        assert under(bad_at(4), lambda: cl.train(config)) == "no error"
    assert all(value.isfinite().all() for value in final_state(tmp_path / "run").values())


def test_a_run_on_a_gpu_goes_on_from_its_checkpoint(tmp_path):
    cl.train(tiny(tmp_path / "run", device="cuda"), on_step=lambda state: state.step == 5)
    cl.train(tiny(tmp_path / "run", device="cuda"))
    assert Run(tmp_path / "run").read()["status"] == "finished"


@pytest.mark.parametrize(("side", "size"), [(32, 32), (256, 224), (256, 40)])
def test_crops_are_the_same_on_both_devices(side, size):
    pixels = torch.randint(256, (64, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images, found, boxes = pixels.permute(0, 3, 1, 2), [], []
    for device in ("cpu", "cuda"):
        drawn = Draws(seed=0, step=5, index=torch.arange(64, device=device))
        boxes.append(random_boxes(drawn, (side, side), (0.08, 1.0), (3 / 4, 4 / 3)).cpu())
        settings = {"size": size, "crop": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "flip": True}
        found.append(augmented(images.to(device), drawn, **settings).cpu())
    assert torch.equal(boxes[0], boxes[1])
    assert (found[0].int() - found[1].int()).abs().max() <= 1
