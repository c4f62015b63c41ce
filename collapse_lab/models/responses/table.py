"""Responses by name: what happens between the activation and the projection of a block."""

from __future__ import annotations

from collapse_lab.models.grid import Grid
from collapse_lab.models.responses.ablations import (
    GRNL1,
    Affine,
    GRNAvg,
    GRNBatch,
    GRNInverseSum,
    GRNNoResidual,
    GRNStandardise,
    TimesG,
    TimesN,
)
from collapse_lab.models.responses.base import Response
from collapse_lab.models.responses.gates import CBAM, SE
from collapse_lab.models.responses.grn import GRN
from collapse_lab.models.responses.norms import BN, LN, LRN
from collapse_lab.registry import Registry
from collapse_lab.shapes import Features


class NoResponse(Response):
    """y = x.

    ConvNeXt V1. ImageNet 83.7. The identity. It has a site of its own, so that arms pair up.
    """

    identity = True
    top1 = 83.7

    def forward(self, x: Features, grid: Grid | None = None) -> Features:
        return x


RESPONSES: Registry[type[Response]] = Registry(
    "response",
    {
        "none": NoResponse,
        "grn": GRN,
        "grn_batch": GRNBatch,
        "grn_avg": GRNAvg,
        "grn_l1": GRNL1,
        "grn_standardise": GRNStandardise,
        "grn_inverse_sum": GRNInverseSum,
        "grn_no_residual": GRNNoResidual,
        "affine": Affine,
        "times_g": TimesG,
        "times_n": TimesN,
        "lrn": LRN,
        "bn": BN,
        "ln": LN,
        "se": SE,
        "cbam": CBAM,
    },
)
"""Built as `RESPONSES[name](4 * channels)`."""
