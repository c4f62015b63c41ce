"""Compiled blocks are compiled once for each shape, however many blocks, steps and stages there are."""

from __future__ import annotations

import pytest
import torch

import collapse_lab as cl
from collapse_lab.objectives.fcmae import FCMAE
from collapse_lab.train.place import compile_blocks


@pytest.mark.filterwarnings("ignore")  # of torch.compile itself
def test_blocks_are_compiled_once_for_each_stage_and_the_decoder():
    compiled: list[torch.fx.GraphModule] = []

    def backend(graph, _inputs):
        compiled.append(graph)
        return graph

    torch._dynamo.reset()
    model = cl.build_model("convnext_cifar", widths=(4, 8, 12, 16), response="grn", layer_scale=None)
    objective = FCMAE(model, decoder_dim=20)
    compile_blocks(objective, backend=backend)
    for step in range(2):
        source = torch.Generator().manual_seed(step)
        objective(torch.randn(2, 3, 32, 32, generator=source), generator=source).loss.backward()
    torch._dynamo.reset()
    assert len(compiled) == len(model.depths) + 1
