"""What is claimed of a run on a GPU and its page, from made records; and all its parts, rehearsed on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu.device import Device, fitted
from benchmarks.gpu.judged import claims_of
from benchmarks.gpu.limits import Limits, bytes_an_image, flop_an_image, shares
from benchmarks.gpu.looking import tasks
from benchmarks.gpu.page import page
from benchmarks.gpu.plan import Part, plan
from benchmarks.gpu.process import ended
from benchmarks.gpu.records import Writer, read
from benchmarks.gpu.steps import NETWORKS, Wanted, records
from collapse_lab.models.build import build_model

LIMITS = Limits(flops=7e14, bytes=4e12)


def step(network: str, rate: float, way: str = "compiled", size: str = "base") -> dict[str, object]:
    return {"part": "steps", "size": size, "way": way, "network": network, "batch": 8, "images_per_second": rate}


RECORDS = [
    step("visible", 2000.0, "eager"),
    step("visible", 2400.0),
    step("kernels", 2600.0),
    step("dense_masked", 1000.0),
    {"part": "steps", "size": "base", "way": "eager", "network": "timm", "batch": 8, "error": "ImportError: timm"},
    {"part": "looking", "task": "statistics", "seconds": 1.2, "product_seconds": 1.0, "singular_values_seconds": 9.0},
    {"part": "kernels", "size": "base", "way": "compiled", "network": "visible", "kernel": "a|b", "share": 0.5},
    {"part": "command", "command": "benchmarks.gpu.steps nano", "status": "no time left", "seconds": 0},
    {"part": "limits", "flops": 7e14, "bytes": 4e12},
    {"part": "packed", "size": "atto", "batch": 512, "images_per_second": 950.0, "packed_vs_held": 0.95},
]


def test_a_rate_is_that_of_the_fastest_way_and_ratios_are_of_compiled_networks():
    found = {claim.name: claim.value for claim in claims_of(RECORDS)}
    assert found["base224_bf16_images_per_second"] == 2600
    assert found["base224_bf16_visible_vs_dense_masked"] == pytest.approx(2.6)
    assert found["statistics_1e6x3072_vs_product"] == pytest.approx(1.2)
    assert found["atto224_packed_vs_held"] == pytest.approx(0.95)


def test_what_was_not_measured_has_no_value_and_a_reason():
    claims = claims_of([])
    assert claims
    assert {(claim.value, claim.holds, claim.reason) for claim in claims} == {(None, None, "not measured in this run")}


def test_a_page_has_a_row_for_every_record_and_says_what_failed():
    made = {"gpu": "GPU", "cores": 16}
    result = {
        "machine": made,
        "versions": {"torch": "2"},
        "rehearsal": False,
        "claims": [claim.record() for claim in claims_of(RECORDS)],
        "records": RECORDS,
    }
    text = page(result)
    assert text.count("| base | compiled |") == 3
    for said in ("ImportError: timm", "no time left", "a/b", "700 TFLOP/s", "4.00 TB/s"):
        assert said in text


def test_a_step_at_a_limit_has_a_share_of_one():
    with torch.device("meta"):
        model = build_model("convnextv2_base")
    own = model.architecture
    assert flop_an_image(model) == pytest.approx(36e9, rel=0.05)
    assert bytes_an_image(own["depths"], own["dims"]) == pytest.approx(224e6, rel=0.01)
    found = shares(model, LIMITS.flops / flop_an_image(model), LIMITS)
    assert found["share_of_products"] == pytest.approx(1)
    assert found["share_of_both"] == pytest.approx(1 + found["share_of_memory"])


def test_where_memory_does_not_suffice_half_the_images_are_taken():
    asked = []

    def task(batch: int) -> str:
        asked.append(batch)
        if batch > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return "measured"

    assert fitted(Device(), 16, task) == ("measured", 2)
    assert asked == [16, 8, 4, 2]
    with pytest.raises(RuntimeError, match="out of memory"):
        fitted(Device(), 2, lambda batch: task(99))
    with pytest.raises(RuntimeError, match="illegal"):
        fitted(Device(), 2, lambda batch: (_ for _ in ()).throw(RuntimeError("an illegal memory access")))


def test_a_network_that_fails_leaves_its_error_in_its_place(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    (record,) = records(Device(), Wanted(size="atto", way="eager", network="timm"), LIMITS)
    assert record["error"].startswith("ModuleNotFoundError")
    assert (record["network"], record["batch"]) == ("timm", 2)


def test_a_part_is_ended_with_all_that_it_started_and_what_it_wrote_is_left(tmp_path, monkeypatch):
    """A part that writes a record, starts a process that would say that it lives on, and sleeps."""
    later = f"import time, pathlib; time.sleep(2); pathlib.Path({str(tmp_path / 'alive')!r}).touch()"
    (tmp_path / "slow.py").write_text(
        "import subprocess, sys, time\n"
        f'open(sys.argv[-1], \'a\').write(\'{{"part": "limits", "flops": 1.0}}\\n{{"part\')\n'
        f"subprocess.Popen([sys.executable, '-c', {later!r}])\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path.cwd()}")
    found: list[dict[str, object]] = []
    gpu.run(Part(command=("slow",), seconds=1.0), "cpu", 30, tmp_path / "out.jsonl", found)
    assert [record["part"] for record in found] == ["limits", "command"]
    assert found[1]["status"] == "out of time"
    assert {record["command"] for record in found} == {"slow"}
    subprocess.run(["sleep", "1.5"], check=True)
    assert not (tmp_path / "alive").exists()


def test_of_a_command_that_fails_the_end_of_what_it_said_is_kept(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("raise RuntimeError('no such kernel')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    status, said = ended(["broken"], 30)
    assert (status, said.strip().splitlines()[-1]) == ("failed", "RuntimeError: no such kernel")


def test_a_second_call_measures_what_the_first_did_not_end(tmp_path, monkeypatch):
    asked = []

    def run(part: Part, device: str, seconds: float, out: Path, found: list[dict[str, object]]) -> None:
        asked.append(part.name)
        found.append({"part": "limits", "flops": 1.0, "bytes": 1.0, "command": part.name})
        found.append({"part": "command", "status": "done", "seconds": 1, "said": "", "command": part.name})
        if part.name == "two":
            raise SystemExit(143)

    monkeypatch.setattr(gpu, "run", run)
    parts = [Part(command=(name,), seconds=1) for name in ("one", "two", "three")]
    path = tmp_path / "found.json"
    with pytest.raises(SystemExit):
        gpu.measure(parts, "cpu", 100, path)
    assert [r["command"] for r in json.loads(path.read_text())["records"] if r["part"] == "command"] == ["one", "two"]
    gpu.measure(parts, "cpu", 100, path)
    assert asked == ["one", "two", "three"]
    left = gpu.measure([Part(command=("four",), seconds=1)], "cpu", 0, path)
    assert left[-1]["status"] == "no time left"


def test_every_part_of_the_plan_is_known_and_claims_find_what_they_are_read_off():
    known = dict(tasks(Device()))
    for parts in (plan(quick=False, device="cuda"), plan(quick=True, device="cuda"), plan(quick=False, device="cpu")):
        commands = [part.command for part in parts]
        assert len(set(commands)) == len(commands)
        assert commands[0] == ("benchmarks.gpu.limits",)
        for command in commands:
            names = command[-1].split(",") if "--only" in command else []
            assert set(names) <= known.keys()
            if "--networks" in command:
                assert set(command[command.index("--networks") + 1].split(",")) <= set(NETWORKS)


@pytest.mark.slow
def test_a_rehearsal_on_the_cpu_runs_every_part_and_writes_the_page(tmp_path):
    path = tmp_path / "cpu.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--json", str(path), "--limit", "600"]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    result, text = json.loads(path.read_text()), path.with_suffix(".md").read_text()
    assert [r["status"] for r in result["records"] if r["part"] == "command"] == ["done"] * 5
    assert {r["part"] for r in result["records"]} == {"limits", "steps", "kernels", "looking", "packed", "command"}
    failed = [r for r in result["records"] if "error" in r]
    assert all("No module named 'timm'" in r["error"] for r in failed)
    assert result["claims"] == []
    assert "these numbers mean nothing" in text
    for title in ("Train steps", "Captures", "Monitor", "Statistics", "Packed", "Where a step spends its time"):
        assert f"## {title}" in text
    assert not path.with_suffix(".part.jsonl").exists()
    assert read(tmp_path / "none.jsonl") == []
    Writer(tmp_path / "some.jsonl")({"part": "limits"})
    assert read(tmp_path / "some.jsonl") == [{"part": "limits"}]
