"""What reading a pack is measured on."""

from __future__ import annotations

import torch

from benchmarks import packed as benchmark
from collapse_lab.data.crop import augmented
from collapse_lab.draws import Draws
from tests.data.test_parquet import cells, write


def test_a_step_is_what_a_network_takes_and_its_crops_differ(tmp_path):
    images = benchmark.noise(tmp_path / "noise", 6, 20)
    pixels = benchmark.step(images, 0, 4, 16)
    assert (pixels.shape, pixels.dtype) == ((4, 3, 16, 16), torch.float32)
    assert not torch.equal(pixels, benchmark.step(images, 3, 4, 16))  # the same images, two epochs later
    whole = benchmark.step(images, 0, 4, None)
    drawn = Draws(seed=0, step=0, index=torch.arange(4))
    settings = {"size": 20, "crop": None, "ratio": benchmark.RATIO, "flip": True}
    read = images.stored(benchmark.step_indices(0, 0, 4, 6)).image
    assert torch.equal(whole, augmented(read, drawn, **settings))
    assert benchmark.rate(images, 4, 16, 2) > 0


def test_packing_is_measured_of_cifar_10_alone_or_not_at_all(tmp_path):
    assert benchmark.packing(tmp_path / "nowhere").reason == "no CIFAR-10 as Parquet in nowhere/: --data FOLDER"
    write(tmp_path / "few" / "train.parquet", {"image": cells([1, 2])})
    found = benchmark.packing(tmp_path / "few")
    assert (found.value, found.holds) == (None, None)
    assert found.reason == "2 images there, CIFAR-10 has 60,000"
