"""A network that starts from another one's weights."""

from __future__ import annotations

import warnings
from typing import Any

from collapse_lab.models.encoder import Encoder
from collapse_lab.models.weights.read import Loaded

MAY_DIFFER = ("classes", "drop_path")
HEAD = "head."


def start_from(encoder: Encoder, loaded: Loaded) -> None:
    """Give an encoder the weights of another network; its head stays as it was drawn.

    So the head is always a fresh one, as in the official fine-tuning, and so is a final norm that the other lacks.
    What was left out and what starts afresh is said by a warning. Raises ValueError showing both where the other
    network has another architecture; of LayerScale only whether there is one counts.
    """
    _require_same(_shape(encoder.architecture), _shape(loaded.model.architecture), loaded.source)
    own, theirs = encoder.state_dict(), loaded.model.state_dict()
    shared = {name for name in own.keys() & theirs.keys() if not name.startswith(HEAD)}
    encoder.load_state_dict({**own, **{name: theirs[name] for name in shared}})
    said = {"left out": {*loaded.left_out, *theirs.keys()} - shared, "drawn afresh": own.keys() - shared}
    parts = {what: sorted({name.split(".")[0] for name in names}) for what, names in said.items()}
    if any(parts.values()):
        listed = "; ".join(f"{what}: {', '.join(names)}" for what, names in parts.items() if names)
        warnings.warn(f"the encoder starts from {loaded.source}; {listed}", stacklevel=4)


def _shape(architecture: dict[str, Any]) -> dict[str, Any]:
    shape = {name: tuple(value) if isinstance(value, list) else value for name, value in architecture.items()}
    if "layer_scale" in shape:
        shape["layer_scale"] = "off" if shape["layer_scale"] is None else "on"
    return {name: value for name, value in shape.items() if name not in MAY_DIFFER}


def _require_same(here: dict[str, Any], there: dict[str, Any], source: str) -> None:
    differ = [name for name in {**here, **there} if here.get(name) != there.get(name)]
    if differ:
        shown = "; ".join(f"{name} = {there.get(name)} there, {here.get(name)} here" for name in differ)
        raise ValueError(
            f"{source} is another network ({shown}); set model.* to it, or start from another with init_from"
        )
