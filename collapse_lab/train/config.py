"""The configuration of a run: frozen, read from TOML, overridden with `a.b=c`; unknown keys are refused."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, ValidationInfo, field_validator

from collapse_lab.registry import nearest

Share: TypeAlias = Annotated[float, Field(ge=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelConfig(_Section):
    """Which network; see `build_model`. layer_scale: a number, "published", or "none"."""

    name: str = "convnext_digits"
    response: str = "published"
    layer_scale: float | Literal["published", "none"] = "published"
    in_channels: int = Field(default=3, ge=1)
    drop_path: float = Field(default=0.0, ge=0, lt=1)


class ObjectiveConfig(_Section):
    """What it learns, a name in OBJECTIVES and its options. The decoder's default width is the paper's 512."""

    name: str = "fcmae"
    mask_ratio: float = Field(default=0.6, gt=0, lt=1)
    decoder_dim: int = Field(default=512, ge=1)
    decoder_depth: int = Field(default=1, ge=0)
    norm_pix: bool = True
    init: Literal["ours", "official"] = "ours"


class DataConfig(_Section):
    """What it sees: a source, the side of the square images, the batch, and the normalisation of pixels in [0, 1].

    `crop`: least and largest share of an image's area in a random box, or "none" for whole images; `ratio`: the box's
    least and largest width over height; `flip`: mirror half of the samples. They touch training alone.
    """

    uri: str = "digits"
    size: int = Field(default=32, ge=1)
    batch: int = Field(default=128, ge=1)
    crop: tuple[float, float] | Literal["none"] = "none"
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = False
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (0.229, 0.224, 0.225)

    @field_validator("crop", "ratio", mode="before")
    @classmethod
    def _bounds(cls, value: Any, info: ValidationInfo) -> Any:
        low, high = (0.0, 1.0) if info.field_name == "crop" else (0.1, 10.0)
        pair = value if isinstance(value, list | tuple) and len(value) == 2 else ()
        numbers = [each for each in pair if isinstance(each, int | float) and low <= each <= high and each > 0]
        ascending = len(numbers) == 2 and numbers[0] <= numbers[1]
        if not ascending and not (info.field_name == "crop" and value == "none"):
            other = ", or 'none'" if info.field_name == "crop" else ""
            raise ValueError(f"expected [least, largest] between {low:g} and {high:g}, ascending{other}")
        return value


class OptimConfig(_Section):
    """AdamW with a linear warm-up and a half cosine to zero. `lr` is the peak itself, not a base rate."""

    lr: float = Field(default=1.5e-4, gt=0)
    betas: tuple[Share, Share] = (0.9, 0.95)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup: int = Field(default=0, ge=0, description="steps")


class SaveConfig(_Section):
    """Checkpoints at the start, every so many steps and at the end: the newest `keep`, and all of the steps `at`."""

    every: int = Field(default=100, ge=1)
    keep: int = Field(default=2, ge=1)
    at: tuple[int, ...] = ()


class Config(_Section):
    """Everything that decides a run. `out` is where it lies and is no part of what it is."""

    out: str = "runs/run"
    seed: int = Field(default=0, ge=0)
    steps: int = Field(default=300, ge=1)
    log_every: int = Field(default=10, ge=1)
    threads: int = Field(default=0, ge=0, description="0 leaves PyTorch's own choice")
    device: str = "auto"
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    save: SaveConfig = SaveConfig()

    def identity(self) -> dict[str, Any]:
        """What decides the weights: two runs with equal identity and equal images are the same run.

        Not in it: where the run lies, what is logged and which checkpoints are kept (a study may ask for more of them
        later), device and threads (they void the bit-equality, not the run), and the name of the data: the images
        themselves are compared, by fingerprint, so a folder may move.
        """
        outside: dict[str, Any] = dict.fromkeys(("out", "device", "threads", "log_every", "save"), True)
        return self.model_dump(mode="json", exclude=outside | {"data": {"uri"}})


def load_config(path: Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """The configuration in a TOML file (or the defaults), with `a.b=c` overrides; the value is read as TOML, else text.

    Raises ValueError naming every key that is unknown (with the nearest known one) or has a wrong value.
    """
    values: dict[str, Any] = {}
    if path is not None:
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no configuration file {path}; give a TOML file, such as a run's config.toml"
            )
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is not TOML: {error}") from None
    for override in overrides:
        name, sign, text = override.partition("=")
        if not sign or not name:
            raise ValueError(f"--set takes name=value, for example optim.lr=0.001, got {override!r}")
        _put(values, name.split("."), _value(text))
    return make_config(values)


def make_config(values: dict[str, Any]) -> Config:
    """A checked configuration from nested values; raises ValueError as `load_config` does."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ValueError("the configuration is refused: " + "; ".join(_faults(error))) from None


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested values with nested changes laid over them."""
    result = dict(base)
    for name, value in changes.items():
        inside = result.get(name)
        result[name] = merged(inside, value) if isinstance(inside, dict) and isinstance(value, dict) else value
    return result


def to_toml(values: dict[str, Any], path: str = "") -> str:
    """Nested values of numbers, texts, flags and lists as TOML; None cannot be said in TOML and is left out."""
    inside = {name: value for name, value in values.items() if isinstance(value, dict)}
    plain = [f"{name} = {_toml(value)}" for name, value in values.items() if name not in inside and value is not None]
    tables = [f"\n[{path}{name}]\n{to_toml(value, f'{path}{name}.')}".rstrip() for name, value in inside.items()]
    return "\n".join(plain + tables) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped) + '"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value)


def _put(values: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            raise ValueError(f"--set {'.'.join(path)}: {name} is a value, not a section")
    values[path[-1]] = value


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _faults(error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        names = [str(part) for part in fault["loc"]]
        name = ".".join(names)
        if fault["type"] == "extra_forbidden":
            yield f"unknown key {name!r}{nearest(names[-1], _known(names[:-1]))}"
        else:
            yield f"{name} = {fault['input']!r}: {fault['msg'].lower()}"


def _known(path: list[str]) -> list[str]:
    section: Any = Config
    for name in path:
        section = section.model_fields[name].annotation
    return list(section.model_fields)
