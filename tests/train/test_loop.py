"""A run is a function of its configuration and its data, whatever interrupts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from collapse_lab.data.pack import pack
from collapse_lab.runs import Run
from collapse_lab.train.log import append, cut, read
from collapse_lab.train.loop import train
from collapse_lab.train.nested import to_toml
from tests.pictures import write_pictures
from tests.train.runs import final_state, tiny


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    """The run that nothing interrupts; only read it."""
    return train(tiny(tmp_path_factory.mktemp("unbroken") / "run"))


def same(one: Path, other: Path) -> bool:
    states = final_state(one), final_state(other)
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


def test_a_run_is_a_folder_a_person_can_read(unbroken):
    record = Run(unbroken).read()
    assert (record["status"], record["step"], record["threads"], record["error"]) == ("finished", 8, 1, None)
    assert record["data"]["images"] == 1000
    lines = read(unbroken / "log.jsonl")
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    assert set(lines[0]) == {"step", "loss", "grad_norm", "lr", "images_per_second"}


@pytest.mark.parametrize("stop", range(1, 8))
def test_stopping_at_any_step_and_going_on_gives_the_same_bits(stop, unbroken, tmp_path):
    config = tiny(tmp_path / "run")
    train(config, on_step=lambda state: state.step == stop)
    assert Run(tmp_path / "run").read()["status"] == "interrupted"
    assert list(Run(tmp_path / "run").checkpoints())[-1] == stop
    torch.manual_seed(stop)  # the global generator has no part in it
    train(config)
    assert same(tmp_path / "run", unbroken)
    logs = [
        [{**line, "images_per_second": 0} for line in read(path / "log.jsonl")] for path in (tmp_path / "run", unbroken)
    ]
    assert logs[0] == logs[1]


def test_a_crash_between_checkpoints_goes_back_to_the_newest(unbroken, tmp_path):
    def crash(state):
        if state.step == 5:
            raise ZeroDivisionError("on step five")

    with pytest.raises(ZeroDivisionError):
        train(tiny(tmp_path / "run"), on_step=crash)
    record = Run(tmp_path / "run").read()
    assert (record["status"], record["error"]) == ("failed", "ZeroDivisionError: on step five")
    with pytest.warns(UserWarning, match=r"had failed \(ZeroDivisionError: on step five\); it goes on from step 3"):
        train(tiny(tmp_path / "run"))
    assert Run(tmp_path / "run").read()["error"] is None
    assert same(tmp_path / "run", unbroken)


def test_a_torn_checkpoint_costs_its_steps_and_nothing_else(unbroken, tmp_path):
    train(tiny(tmp_path / "run"), on_step=lambda state: state.step == 7)
    Run(tmp_path / "run").checkpoint(7).write_bytes(b"torn")
    with pytest.warns(UserWarning, match="is torn"):
        train(tiny(tmp_path / "run"))
    assert same(tmp_path / "run", unbroken)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_step_saves_and_loses_nothing(number, code, tmp_path):
    long = {"steps": 100_000, "save": {"every": 100_000}, "log_every": 1}
    out = tmp_path / "run"
    (tmp_path / "config.toml").write_text(to_toml(tiny(out, **long).model_dump(mode="json")))
    program = """
import sys
from pathlib import Path
from collapse_lab.train.config import load_config
from collapse_lab.train.loop import train
try:
    train(load_config(Path(sys.argv[1])))
except KeyboardInterrupt:
    sys.exit(130)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, str(tmp_path / "config.toml")]
    with subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[2]) as process:
        deadline = time.monotonic() + 60
        while len(read(out / "log.jsonl")) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        assert process.wait(60) == code
    record = Run(out).read()
    assert record["status"] == "interrupted"
    done = record["step"]
    assert list(Run(out).checkpoints())[-1] == done >= 3
    # Two steps further equal two steps further of a run that was only ever stopped there.
    train(tiny(out, **long), on_step=lambda state: state.step == done + 2)
    train(tiny(tmp_path / "other", **long), on_step=lambda state: state.step == done + 2)
    assert same(out, tmp_path / "other")


def test_handlers_of_signals_come_back_and_a_second_thread_trains_too(tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=train, args=(tiny(tmp_path / "run", steps=2),))
    thread.start()
    thread.join()
    train(tiny(tmp_path / "other", steps=2))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert same(tmp_path / "run", tmp_path / "other")


def test_ctrl_c_saves_and_then_interrupts_the_caller(unbroken, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tiny(tmp_path / "run"), on_step=lambda state: state.step == 4 and signal.raise_signal(signal.SIGINT))
    assert Run(tmp_path / "run").read()["status"] == "interrupted"
    train(tiny(tmp_path / "run"))
    assert same(tmp_path / "run", unbroken)


def test_a_finished_run_is_left_alone(unbroken):
    before = (unbroken / "run.json").read_text()
    train(tiny(unbroken), on_step=lambda state: pytest.fail("a finished run has no steps"))
    assert (unbroken / "run.json").read_text() == before


def test_a_caller_sees_every_step_with_its_model_and_loss(tmp_path):
    seen = []
    train(
        tiny(tmp_path / "run", steps=3),
        on_step=lambda state: seen.append((state.step, state.loss.item(), state.model.stride)),
    )
    assert [(step, stride) for step, _, stride in seen] == [(1, 8), (2, 8), (3, 8)]
    assert all(0.5 < loss < 2 for _, loss, _ in seen)


def test_another_configuration_is_refused_with_both_values(unbroken):
    with pytest.raises(
        ValueError, match=r"another configuration \(optim.lr = 0.001 there, 0.5 here\); use another --out"
    ):
        train(tiny(unbroken, optim={"lr": 0.5}))
    with pytest.raises(
        ValueError, match=r"data.size = 16 there, 32 here; fingerprint of the images = '\w+' there, '\w+' here"
    ):
        train(tiny(unbroken, data={"size": 32}))


def test_what_does_not_decide_the_weights_may_change_on_the_way(unbroken, tmp_path):
    train(tiny(tmp_path / "run"), on_step=lambda state: state.step == 4)
    changed = tiny(tmp_path / "run", save={"at": [5], "every": 4}, log_every=1)
    train(changed)
    assert same(tmp_path / "run", unbroken)
    assert list(Run(tmp_path / "run").checkpoints()) == [4, 5, 8]
    with pytest.warns(UserWarning, match=r"is at step 8 and has not kept its steps \[3\], which save.at asks for now"):
        train(tiny(tmp_path / "run", save={"at": [3]}))


def test_another_number_of_threads_is_said_and_is_the_callers_again_afterwards(tmp_path):
    before = torch.get_num_threads()
    train(tiny(tmp_path / "run"), on_step=lambda state: state.step == 2)
    with pytest.warns(UserWarning, match="began with 1 threads; with 2 it will not be bit-equal"):
        train(tiny(tmp_path / "run", threads=2))
    assert Run(tmp_path / "run").read()["threads"] == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"data": {"size": 20}},
            ValueError,
            "20 x 20 pixels are not divided by cells of 8 x 8; the nearest size that fits is 24",
        ),
        (
            {"data": {"size": 4}},
            ValueError,
            "4 x 4 pixels are smaller than one cell of 8 x 8; the nearest size that fits is 8",
        ),
        ({"data": {"size": 8}}, ValueError, "mask_ratio 0.6 keeps 0 of 1 cells"),
        ({"data": {"uri": "digit"}}, LookupError, "did you mean 'digits'"),
        ({"model": {"name": "convnext_digit"}}, LookupError, "did you mean 'convnext_digits'"),
        ({"model": {"response": "gnr"}}, LookupError, "did you mean 'grn'"),
        ({"model": {"in_channels": 1}}, ValueError, r"model.in_channels = 1: input should be 3"),
        ({"objective": {"name": "fcmea"}}, LookupError, "did you mean 'fcmae'"),
        ({"device": "tpu"}, ValueError, "device 'tpu' cannot be used here"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(changes, error, message, tmp_path):
    with pytest.raises(error, match=message):
        train(tiny(tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_run_and_spoils_no_checkpoint(tmp_path):
    def spoil(state):
        if state.step == 5:
            state.model.stem.conv.weight.data.fill_(float("nan"))

    message = (
        r"the loss of step 5 is not finite \(learning rate .*\); the last good checkpoint is .*step-00000003.pt; lower"
    )
    with pytest.raises(FloatingPointError, match=message):
        train(tiny(tmp_path / "run"), on_step=spoil)
    assert Run(tmp_path / "run").read()["status"] == "failed"
    with pytest.warns(UserWarning, match="had failed .*FloatingPointError.*goes on from step 3"):
        train(tiny(tmp_path / "run"))
    assert all(value.isfinite().all() for value in final_state(tmp_path / "run").values())


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    def spoil(state):
        if state.step == 6:  # a step that is saved, after a loss that was fine
            state.model.stem.conv.weight.data.fill_(float("inf"))

    with pytest.raises(FloatingPointError, match=r"the weights after step 5 are not finite .*step-00000003.pt"):
        train(tiny(tmp_path / "run"), on_step=spoil)
    assert list(Run(tmp_path / "run").checkpoints()) == [0, 3]


def test_a_folder_with_fewer_images_than_a_batch_trains(tmp_path):
    (tmp_path / "photos" / "train").mkdir(parents=True)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / "train" / f"{number}.png")
    photos = {"data": {"uri": str(tmp_path / "photos")}}
    path = train(tiny(tmp_path / "run", **photos))
    assert Run(path).read()["data"]["name"] == "photos"
    # The folder may move; the images are what counts.
    (tmp_path / "photos").rename(tmp_path / "moved")
    train(tiny(tmp_path / "run", data={"uri": str(tmp_path / "moved")}))


def test_skipped_images_are_listed_in_the_run(tmp_path):
    root = tmp_path / "photos" / "train"
    root.mkdir(parents=True)
    for number in range(100):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(root / f"{number:03}.png")
    (root / "broken.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="1 of 101 images skipped"):
        path = train(tiny(tmp_path / "run", steps=1, data={"uri": str(tmp_path / "photos")}))
    (line,) = json.loads((path / "run.json").read_text())["data"]["skipped"]
    assert line.startswith("train/broken.png: ")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot make the run folder .*file"):
        train(tiny(tmp_path / "file" / "run"))


def test_a_second_process_is_refused(tmp_path):
    with Run(tmp_path / "run").locked(), pytest.raises(RuntimeError, match="another process is working on"):
        train(tiny(tmp_path / "run"))


def test_arms_that_differ_in_the_response_begin_with_the_same_loss(tmp_path):
    losses = []
    for response in ("grn", "none"):
        config = tiny(tmp_path / response, steps=1, model={"response": response})
        train(config, on_step=lambda state: losses.append(state.loss.item()))
    assert losses[0] == losses[1]  # a closed gate is no gate, and all else is shared


def test_a_torn_line_of_the_log_is_left_out_and_later_lines_are_cut(tmp_path):
    path = tmp_path / "log.jsonl"
    for step in (1, 2, 3):
        append(path, {"step": step})
    path.write_text(path.read_text() + '{"step": 4, "lo')
    assert [line["step"] for line in read(path)] == [1, 2, 3]
    cut(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert read(tmp_path / "none.jsonl") == []


CROPPED = {"crop": [0.3, 1.0], "flip": True}


def test_a_run_on_a_pack_is_the_run_on_its_images(tmp_path):
    pictures = write_pictures(tmp_path / "pictures", test=1)
    pack(str(pictures), tmp_path / "pack", side=16, workers=0)
    for name, uri in (("plain", str(pictures)), ("packed", f"packed:{tmp_path / 'pack'}")):
        train(tiny(tmp_path / name, data={"uri": uri, **CROPPED}))
    assert same(tmp_path / "plain", tmp_path / "packed")


@pytest.mark.parametrize("stop", [1, 4, 5])
def test_a_run_on_crops_goes_on_with_the_same_crops(stop, tmp_path):
    unbroken = train(tiny(tmp_path / "unbroken", data=CROPPED))
    config = tiny(tmp_path / "run", data=CROPPED)
    train(config, on_step=lambda state: state.step == stop)
    train(config)
    assert same(tmp_path / "run", unbroken)


def test_crops_change_what_is_learned(unbroken, tmp_path):
    assert not same(train(tiny(tmp_path / "crop", data={"crop": [0.3, 1.0]})), unbroken)
    assert not same(train(tiny(tmp_path / "flip", data={"flip": True})), unbroken)


def test_a_run_from_before_a_setting_existed_goes_on(unbroken, tmp_path):
    config = tiny(tmp_path / "run")
    train(config, on_step=lambda state: state.step == 3)
    run = Run(tmp_path / "run")
    older = run.read()["config"]
    for name in ("crop", "ratio", "flip"):
        del older["data"][name]
    run.update(config=older)
    train(config)
    assert same(tmp_path / "run", unbroken)
    with pytest.raises(ValueError, match=r"data.flip = False there, True here"):
        train(tiny(tmp_path / "run", data={"flip": True}))
