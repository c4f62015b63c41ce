"""What a step of FCMAE training costs, and where: ConvNeXt V2 Atto at 64 px, 64 images, as training does it.

A step is data (the images of its places, read and decoded), forward (their normalisation included), backward, and the
optimiser (the gradients' norm and the update). Synthetic data are the images of one step, read once and kept: the same
step without its data. Packed data are read from a pack of 96 px two steps ahead, cropped and mirrored, as recipes do;
both stand against the synthetic step, which does neither.

Model FLOP utilisation is the products of forward and backward, counted by PyTorch as they run, over the time of a step
and the peak of the device: that which is published of a GPU, on a CPU the rate of a matrix product of 2,048 x 2,048
measured beside it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.claims import Claim, interleaved, main, ratio
from benchmarks.packed import CROP, noise
from collapse_lab.runs import Run
from collapse_lab.train.ahead import ahead
from collapse_lab.train.config import Config, make_config
from collapse_lab.train.loop import Part, Prepared, prepare
from collapse_lab.train.optim import adamw
from collapse_lab.train.place import Place, entered
from collapse_lab.train.step import clipped, update

BATCH, SIDE, MODEL = 64, 64, "convnextv2_atto"
STAGES = ("data", "forward", "backward", "optimiser")
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}
"""Dense bf16 products a second, in FLOP, as the maker states them."""


def config(precision: str, **data: object) -> Config:
    """The measured run; its folder is never written to."""
    data = {"size": SIDE, "batch": BATCH, **data}
    out = str(Path(tempfile.gettempdir()) / "collapse-lab-train-step")
    return make_config({"out": out, "model": {"name": MODEL}, "data": data, "compute": {"precision": precision}})


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One run, ready to take steps."""

    ready: Prepared
    network: nn.Module
    optimizer: torch.optim.Optimizer
    synthetic: list[Part]

    @staticmethod
    def of(settings: Config, place: Place) -> Bench:
        ready = prepare(Run(Path(settings.out)), settings, place)
        network = place.prepare(ready.objective)
        optim = settings.optim
        optimizer = adamw(ready.objective, optim.lr, optim.betas, optim.weight_decay)
        return Bench(ready=ready, network=network, optimizer=optimizer, synthetic=ready.read(0))

    def wait(self) -> None:
        """For the device, where it works on its own."""
        if self.ready.place.device.type == "cuda":
            torch.cuda.synchronize()

    def loss(self, parts: list[Part]) -> Tensor:
        (part,) = parts
        loss: Tensor = self.ready.forward(self.network, 0, part).loss
        return loss

    def advance(self) -> None:
        clipped(self.ready.objective, 0)
        update(self.optimizer, 1e-4, torch.zeros((), dtype=torch.bool, device=self.ready.place.device))
        self.optimizer.zero_grad(set_to_none=True)

    def step(self, number: int | None = None) -> None:
        """A whole step: of the run's own images with a number, of synthetic ones without."""
        self.take(self.synthetic if number is None else self.ready.read(number))

    def take(self, parts: list[Part]) -> None:
        """A step of images that were read."""
        self.loss(parts).backward()
        self.advance()
        self.wait()

    def split(self, number: int) -> dict[str, float]:
        """Seconds of each stage; the device is waited for between them."""
        seen: list[list[Part]] = []
        losses: list[Tensor] = []
        tasks: dict[str, Callable[[], object]] = {
            "data": lambda: seen.append(self.ready.read(number)),
            "forward": lambda: losses.append(self.loss(seen[0])),
            "backward": lambda: losses[0].backward(),
            "optimiser": self.advance,
        }
        return {name: self._seconds(tasks[name]) for name in STAGES}

    def flops(self) -> int:
        """Products and sums of forward and backward of one step."""
        with FlopCounterMode(display=False) as counter:
            self.loss(self.synthetic).backward()
        self.optimizer.zero_grad(set_to_none=True)
        return int(counter.get_total_flops())

    def _seconds(self, task: Callable[[], object]) -> float:
        self.wait()
        began = time.perf_counter()
        task()
        self.wait()
        return time.perf_counter() - began


def peak(device: torch.device, repetitions: int) -> float | None:
    """FLOP a second that the device can do at most; None for a GPU that is not in the table."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return next((rate for known, rate in PEAKS.items() if known in name), None)
    one = torch.randn(2048, 2048)
    best = min(_timed(lambda: one @ one) for _ in range(repetitions))
    return 2 * 2048**3 / best


def _timed(task: Callable[[], object]) -> float:
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


def claims_of(bench: Bench, packed: Bench, rounds: int) -> list[Claim]:
    """All claims of a run on digits and of one on a pack."""
    numbers = iter(range(1 << 30))
    coming = ahead(packed.ready.read, range(1 << 30))
    tasks = {
        "synthetic": bench.step,
        "data": lambda: bench.step(next(numbers)),
        "packed": lambda: packed.take(next(coming)),
    }
    found = interleaved(tasks, rounds)
    coming.close()
    stages = [bench.split(next(numbers)) for _ in range(2 * rounds)]
    seconds = {name: statistics.median(each[name] for each in stages) for name in STAGES}
    whole, most = sum(seconds.values()), peak(bench.ready.place.device, rounds)
    used = bench.flops() / statistics.median(found["synthetic"])
    told = {
        "train_step_synthetic_images_per_second": (BATCH / statistics.median(found["synthetic"]), "images/s"),
        "train_step_digits_images_per_second": (BATCH / statistics.median(found["data"]), "images/s"),
        "train_step_flop_utilisation": (None if most is None else used / most, "share"),
        "train_step_gflop_per_second": (used / 1e9, "GFLOP/s"),
        **{f"train_step_{name}_share": (seconds[name] / whole, "share") for name in STAGES},
    }
    unknown = "this GPU's peak is not in the table"
    return [
        *(
            Claim(name=name, value=value, unit=unit, target=None, better="higher", reason="" if value else unknown)
            for name, (value, unit) in told.items()
        ),
        *(
            Claim(name=name, value=ratio(found["synthetic"], times), unit="times", target=0.9, better="higher")
            for name, times in (
                ("train_step_digits_vs_synthetic", found["data"]),
                ("packed_vs_synthetic", found["packed"]),
            )
        ),
    ]


def measure(quick: bool) -> list[Claim]:
    """In bf16 on a GPU, in float32 on a CPU."""
    precision = "bf16" if torch.cuda.is_available() else "float32"
    settings = config(precision)
    with tempfile.TemporaryDirectory() as folder, entered(settings) as place:
        noise(Path(folder) / "96", 512, 96)
        packed = config(precision, uri=f"packed:{folder}/96/pack", crop=CROP, flip=True)
        return claims_of(Bench.of(settings, place), Bench.of(packed, place), 3 if quick else 10)


if __name__ == "__main__":
    main(measure)
