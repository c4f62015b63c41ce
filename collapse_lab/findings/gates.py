"""The parameters of Global Response Normalisation (GRN) in any model, and the gain they make of what a capture saw."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from torch import Tensor, nn

from collapse_lab.capture.store import Capture
from collapse_lab.metrics.gate import gate_response

GATES = {"GRN": ("gamma", "beta"), "ConvNextV2GRN": ("weight", "bias"), "GlobalResponseNorm": ("weight", "bias")}
"""Class name -> names of gamma and beta: the official code and ours, transformers, timm. Only modules that do
y = gamma x N + beta + x are here: the gain of GRN's ablations is another one."""

INPUT = "act"
"""The module whose output a GRN reads stands beside it under this name, in all of them."""

GAINS = {"gain_min": 0.0, "gain_q10": 0.1, "gain_q50": 0.5, "gain_q90": 0.9, "gain_max": 1.0}


def gate_table(model: nn.Module, capture: Capture | None = None) -> pd.DataFrame:
    """One row a GRN of the model, in its order: norm, mean and share above 0 of gamma and of beta (C,).

    With a capture of the GRN's inputs (`sites=["*.act"]`) also quantiles over channels of the effective gain
    1 + gamma N, N the channel's gate averaged over images (`gate_response`): gain_min, _q10, _q50, _q90, _max, and
    n_images, the images with energy that it rests on; NaN and 0 where that input was not captured. Untrained GRNs have
    gamma = beta = 0: norms and shares 0, every gain 1. A gain below 0 turns a channel's sign.
    Raises LookupError for a model without a GRN, or for a capture that holds no GRN's input.
    """
    rows = []
    for site, module in model.named_modules():
        parameters = _parameters_of(module)
        if parameters is None:
            continue
        gamma, beta = (value.detach().double().cpu().flatten() for value in parameters)
        row: dict[str, Any] = {"site": site, "channels": len(gamma), **_facts("gamma", gamma), **_facts("beta", beta)}
        rows.append(row if capture is None else row | _gain(gamma, site, capture))
    if not rows:
        raise LookupError(f"{type(model).__name__} has no GRN: no module of class {', '.join(GATES)}")
    if capture is not None and not any(row["n_images"] for row in rows):
        raise LookupError(
            f"the capture holds no GRN's input with energy, such as {_input_of(rows[0]['site'])!r}; "
            f"capture sites=['*.{INPUT}']"
        )
    return pd.DataFrame(rows)


def _parameters_of(module: nn.Module) -> tuple[Tensor, Tensor] | None:
    """gamma and beta, where the module is a GRN by its class, or one it derives from, and has both at one length."""
    names = next((GATES[kind.__name__] for kind in type(module).__mro__ if kind.__name__ in GATES), ("", ""))
    gamma, beta = (getattr(module, name, None) for name in names)
    # Other things are called GRN as well: a gated residual network has no gamma.
    return (
        (gamma, beta) if isinstance(gamma, Tensor) and isinstance(beta, Tensor) and gamma.shape == beta.shape else None
    )


def _facts(name: str, values: Tensor) -> dict[str, float]:
    return {
        f"{name}_norm": values.norm().item(),
        f"{name}_mean": values.mean().item(),
        f"{name}_positive_share": (values > 0).double().mean().item(),
    }


def _input_of(site: str) -> str:
    before, _, _ = site.rpartition(".")
    return f"{before}.{INPUT}" if before else INPUT


def _gain(gamma: Tensor, site: str, capture: Capture) -> dict[str, float]:
    place = _input_of(site)
    images = capture[place].images if place in capture.sites else None
    if images is None or not images.n_gate:
        return {**dict.fromkeys(GAINS, math.nan), "n_images": 0}
    gain = 1 + gamma * gate_response(capture[place])
    return {**{name: gain.quantile(q).item() for name, q in GAINS.items()}, "n_images": images.n_gate}
