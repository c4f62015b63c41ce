"""What the visible-only encoder saves against the masked dense network: time and memory, at 224 px, batch 8, float32.

A train step is forward and backward of the encoder alone, the sum of squares as loss, no decoder, no optimiser; the
FCMAE step is forward and backward of the whole objective. Both networks hold the same weights and use the same
threads. The dense-masked baseline is the same blocks on all positions, with one in-place mask at the entry of each:
the cheapest way to keep removed cells out of the convolutions (it leaves them in the statistics of GRN, which an exact
one would have to mask as well). It must itself cost next to nothing over the unmasked network.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.claims import Claim, interleaved, main, ratio
from collapse_lab.models.build import build_model
from collapse_lab.models.convnext import ConvNeXt
from collapse_lab.objectives.fcmae import FCMAE

BATCH, SIDE, CELLS, KEPT = 8, 224, 49, 19


def sample(batch: int = BATCH) -> tuple[Tensor, Tensor]:
    """Images, and a mask that keeps 19 of 49 cells of each."""
    source = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, SIDE, SIDE, generator=source)
    visible = torch.rand(batch, CELLS, generator=source).argsort(dim=1)[:, :KEPT]
    return images, torch.ones(batch, CELLS, dtype=torch.bool).scatter(1, visible, False)


def masked_maps(removed: Tensor, stage: int) -> Tensor:
    """(N, P, 1), 1 at the visible positions of a stage's map."""
    seen = (~removed).float().reshape(len(removed), 7, 7)
    side = 2 ** (3 - stage)
    return seen.repeat_interleave(side, 1).repeat_interleave(side, 2).flatten(1)[:, :, None]


def mask_blocks(model: ConvNeXt, removed: Tensor) -> None:
    """Make `forward_features` the dense-masked baseline."""

    def mask(_: nn.Module, given: tuple[Tensor, ...], visible: Tensor) -> None:
        given[0].mul_(visible)

    for stage, blocks in enumerate(model.stages):
        visible = masked_maps(removed, stage)
        for block in blocks.blocks:
            block.register_forward_pre_hook(lambda module, given, visible=visible: mask(module, given, visible))


def train_step(model: nn.Module, forward: Callable[[], Tensor]) -> Callable[[], None]:
    """Forward and backward, the sum of squares as loss."""

    def step() -> None:
        model.zero_grad(set_to_none=True)
        forward().square().sum().backward()

    return step


def bytes_held(model: nn.Module, forward: Callable[[], Tensor]) -> int:
    """What a step holds: tensors kept for the gradient (each storage once, parameters not), and the gradients."""
    parameters = {value.untyped_storage().data_ptr() for value in model.parameters()}
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda value: kept.append(value) or value, lambda value: value):
        loss = forward().square().sum()
    storages = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in kept}
    model.zero_grad(set_to_none=True)
    loss.backward()
    gradients = sum(value.grad.nbytes for value in model.parameters() if value.grad is not None)
    return gradients + sum(size for place, size in storages.items() if place not in parameters)


def networks(name: str, removed: Tensor) -> tuple[ConvNeXt, ConvNeXt, ConvNeXt]:
    """The same weights three times: visible only, dense-masked, unmasked. The gates of GRN are open."""
    models = [build_model(name) for _ in range(3)]
    for model in models:
        for parameter_name, parameter in model.named_parameters():
            if parameter_name.endswith("gamma"):
                nn.init.constant_(parameter, 0.5)
    mask_blocks(models[1], removed)
    return models[0], models[1], models[2]


def encoders(name: str) -> dict[str, tuple[nn.Module, Callable[[], Tensor]]]:
    """Each network of one size with its forward pass."""
    images, removed = sample()
    sparse, masked, dense = networks(name, removed)
    return {
        "sparse": (sparse, lambda: sparse.forward_masked(images, removed, keep=KEPT)),
        "masked": (masked, lambda: masked.forward_features(images)),
        "dense": (dense, lambda: dense.forward_features(images)),
    }


def atto_claims(repetitions: int) -> dict[str, float]:
    """Ratios: train, forward, memory, and the baseline against the unmasked network."""
    pairs = encoders("convnextv2_atto")
    train = interleaved({key: train_step(*pair) for key, pair in pairs.items()}, repetitions)
    with torch.no_grad():
        forward = interleaved({key: pairs[key][1] for key in ("sparse", "masked")}, repetitions)
    return {
        "train": ratio(train["masked"], train["sparse"]),
        "forward": ratio(forward["masked"], forward["sparse"]),
        "memory": bytes_held(*pairs["sparse"]) / bytes_held(*pairs["masked"]),
        "baseline": ratio(train["masked"], train["dense"]),
    }


def tiny_claim(repetitions: int) -> float:
    """Train step of the larger network, visible-only against dense-masked."""
    pairs = encoders("convnextv2_tiny")
    seconds = interleaved({key: train_step(*pairs[key]) for key in ("sparse", "masked")}, repetitions)
    return ratio(seconds["masked"], seconds["sparse"])


def fcmae_claim(name: str, repetitions: int) -> float:
    """The whole objective, its encoder visible-only against dense-masked."""
    images, removed = sample()
    sparse, masked, _ = networks(name, removed)
    masked.forward_masked = lambda pixels, *_, **__: masked.forward_features(pixels)
    objectives = {"sparse": FCMAE(sparse), "masked": FCMAE(masked)}

    def step(objective: FCMAE) -> None:
        objective.zero_grad(set_to_none=True)
        objective(images, generator=torch.Generator().manual_seed(0)).loss.backward()

    seconds = interleaved({key: lambda module=module: step(module) for key, module in objectives.items()}, repetitions)
    return ratio(seconds["masked"], seconds["sparse"])


def compiled_claims(quick: bool, repetitions: int) -> list[Claim]:
    """What inductor makes of the train step on CPU, where it finds a compiler of C++."""
    names = ("atto224_compiled_train_vs_eager", "atto224_compiled_train_vs_dense_masked")
    reason = "in full runs only: compiling takes minutes" if quick else "" if has_compiler() else "no compiler of C++"
    if reason:
        return [told(name, None, reason) for name in names]
    pairs = encoders("convnextv2_atto")
    tasks = {key: train_step(*pairs[key]) for key in ("sparse", "masked")}
    compiled = {f"{key} compiled": train_step(pairs[key][0], torch.compile(pairs[key][1])) for key in tasks}
    seconds = interleaved(tasks | compiled, repetitions)
    ratios = (
        ratio(seconds["sparse"], seconds["sparse compiled"]),
        ratio(seconds["masked compiled"], seconds["sparse compiled"]),
    )
    return [told(name, value) for name, value in zip(names, ratios, strict=True)]


def has_compiler() -> bool:
    """Whether inductor could build its kernels."""
    return any(map(shutil.which, ("g++", "c++", "clang++")))


def told(name: str, value: float | None, reason: str = "") -> Claim:
    """A ratio without a target."""
    return Claim(name=name, value=value, unit="times", target=None, better="higher", reason=reason)


def measure(quick: bool) -> list[Claim]:
    """All claims, with their targets."""
    repetitions = 5 if quick else 15
    atto, tiny, step = atto_claims(repetitions), tiny_claim(repetitions), fcmae_claim("convnextv2_atto", repetitions)

    def faster(name: str, value: float, target: float) -> Claim:
        return Claim(name=name, value=value, unit="times", target=target, better="higher")

    def at_most(name: str, value: float, target: float) -> Claim:
        return Claim(name=name, value=value, unit="times", target=target, better="lower")

    return [
        faster("atto224_train_vs_dense_masked", atto["train"], 2.0),
        faster("atto224_forward_vs_dense_masked", atto["forward"], 2.0),
        faster("tiny224_train_vs_dense_masked", tiny, 2.2),
        faster("atto224_fcmae_step_vs_dense_masked", step, 1.6),
        at_most("atto224_train_memory_vs_dense_masked", atto["memory"], 0.5),
        at_most("dense_masked_vs_unmasked", atto["baseline"], 1.05),
        *compiled_claims(quick, repetitions),
    ]


if __name__ == "__main__":
    main(measure)
