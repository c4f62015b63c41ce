"""The configuration of a run: frozen, read from TOML, overridden with `a.b=c`; unknown keys are refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field, PositiveFloat, ValidationError, ValidationInfo, field_validator, model_validator

from collapse_lab.registry import nearest
from collapse_lab.train.methods import OBJECTIVE_SECTIONS, AnyObjective, FCMAEConfig, for_objective
from collapse_lab.train.nested import as_value, make_way, put
from collapse_lab.train.recipe import read_recipe
from collapse_lab.train.section import Section, Share


class ModelConfig(Section):
    """Which network; see `build_model`. layer_scale: a number, "published", or "none". patch, depth: of a ViT.

    `in_channels`: every source gives 3. `classes`: how many the head tells apart; of an objective that needs a head the
    images say it, where this does not.
    """

    name: str = "convnext_digits"
    response: str = "published"
    layer_scale: float | Literal["published", "none"] = "published"
    in_channels: Literal[3] = 3
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    widths: tuple[int, ...] | None = None
    patch: int | None = Field(default=None, ge=1)
    depth: int | None = Field(default=None, ge=1)
    classes: int | None = Field(default=None, ge=1)
    head_init_scale: float = 1.0


class DataConfig(Section):
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
    randaugment: int = Field(default=0, ge=0, le=30, description="magnitude; 0 is none; needs torchvision")
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


def _one_of(values: Any, name: str, other: str, default: float) -> Any:
    """Two ways to say one thing: both are refused, and where neither is said `name` has its default."""
    if not isinstance(values, dict):
        return values
    if values.get(name) is not None and values.get(other) is not None:
        raise ValueError(f"{name} and {other} say the same thing: leave one of them out")
    neither = values.get(name) is None and values.get(other) is None
    return {**values, name: default} if neither else values


class OptimConfig(Section):
    """AdamW with a linear warm-up and a half cosine from the peak to `min_lr`.

    The peak is `lr` itself, or `base_lr` x batch / 256. `layer_decay`, where below 1, multiplies it once for every
    layer between a parameter and the head; see `layer_scales`. `ema`: decay of a running average of the weights, kept
    beside them, 0 for none.
    """

    lr: float | None = Field(default=None, gt=0)
    base_lr: float | None = Field(default=None, gt=0)
    min_lr: float = Field(default=0.0, ge=0)
    betas: tuple[Share, Share] = (0.9, 0.95)
    weight_decay: float = Field(default=0.05, ge=0)
    clip: float = Field(default=0, ge=0, description="the largest norm of all gradients together; 0 leaves them")
    warmup: int | None = Field(default=None, ge=0, description="steps")
    warmup_epochs: float | None = Field(default=None, ge=0)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    layers: Literal["single", "grouped"] = "single"
    ema: Share = 0.0

    @model_validator(mode="before")
    @classmethod
    def _one_peak_one_warmup(cls, values: Any) -> Any:
        return _one_of(_one_of(values, "lr", "base_lr", 1.5e-4), "warmup", "warmup_epochs", 0)


class ComputeConfig(Section):
    """How steps are computed. All but `precision` leaves the run the same run, equal up to rounding.

    precision: "float32"; "bf16", products in bfloat16 under autocast with float32 weights; "float64", for tests.
    tf32: float32 products of a GPU in TensorFloat-32. compile: every block through torch.compile. accumulate: parts
    that a rank's share of a batch is computed in, one after another. recompute: what lies inside the encoder's blocks
    is computed again in the backward pass, not kept. patience: seconds that a rank waits for another, then it fails.
    There is no channels-last switch: blocks work on (image, position, channel), whose channels lie last anyhow.
    """

    precision: Literal["float32", "bf16", "float64"] = "float32"
    tf32: bool = False
    compile: bool = False
    accumulate: int = Field(default=1, ge=1)
    recompute: bool = False
    patience: PositiveFloat = 600


class SaveConfig(Section):
    """Checkpoints at the start, every so many steps and at the end.

    Kept are the newest `keep`, those of the steps `at`, and those of every multiple of `keep_every` (0: of none).
    """

    every: int = Field(default=100, ge=1)
    keep: int = Field(default=2, ge=1)
    keep_every: int = Field(default=0, ge=0)
    at: tuple[int, ...] = ()

    def lasting(self, step: int) -> bool:
        """Whether the checkpoint of `step` stays, however many come after it."""
        return step in self.at or (self.keep_every > 0 and step % self.keep_every == 0)

    def due(self, step: int) -> bool:
        """Whether there is to be a checkpoint of `step`."""
        return step % self.every == 0 or self.lasting(step)


class EvalConfig(Section):
    """On the test images, every so many steps and after the last one; 0 is never."""

    every: int = Field(default=0, ge=0)


class Config(Section):
    """Everything that decides a run. `out` is where it lies and is no part of what it is.

    As long as a run is said in `steps` (300 without a word) or in `epochs`; `init_from` is what `load_model` reads,
    and the encoder starts from it.

    on_nonfinite: what a step does whose loss or gradient is not finite. "stop" ends the run there; "skip" leaves its
    update out and goes on, until there are more than `skip_limit` such steps in a row.
    """

    out: str = "runs/run"
    seed: int = Field(default=0, ge=0)
    steps: int | None = Field(default=None, ge=1)
    epochs: float | None = Field(default=None, gt=0)
    init_from: str | None = None
    log_every: int = Field(default=10, ge=1)
    threads: int = Field(default=0, ge=0, description="0 leaves PyTorch's own choice")
    device: str = "auto"
    on_nonfinite: Literal["stop", "skip"] = "stop"
    skip_limit: int = Field(default=10, ge=1)
    tensorboard: bool = Field(default=False, description="also write what is logged to RUN/tensorboard/training")
    model: ModelConfig = ModelConfig()
    objective: AnyObjective = FCMAEConfig()
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    compute: ComputeConfig = ComputeConfig()
    save: SaveConfig = SaveConfig()
    eval: EvalConfig = EvalConfig()

    @model_validator(mode="before")
    @classmethod
    def _one_length(cls, values: Any) -> Any:
        return _one_of(values, "steps", "epochs", 300)

    def identity(self) -> dict[str, Any]:
        """What decides the weights: two runs with equal identity and equal images are the same run.

        Not in it: where the run lies, what is logged and evaluated and which checkpoints are kept (a study may ask for
        more of them later), device, threads and ways of computing (they void the bit-equality, not the run), what is
        done of a non-finite loss (no other step knows), and the name of the data: the images themselves are compared,
        by fingerprint, so a folder may move.
        """
        aside = ("out", "device", "threads", "log_every", "save", "eval", "tensorboard", "on_nonfinite", "skip_limit")
        outside: dict[str, Any] = dict.fromkeys(aside, True)
        ways = set(ComputeConfig.model_fields) - {"precision"}
        return self.model_dump(mode="json", exclude=outside | {"data": {"uri"}, "compute": ways}, exclude_none=True)


def load_config(
    path: Path | None = None, overrides: Iterable[str] = (), given: Mapping[str, Any] = MappingProxyType({})
) -> Config:
    """The configuration in a TOML file, or of a recipe by its name, or the defaults, with `a.b=c` overrides.

    An override's value is read as TOML, else as text; one that says a thing in another way than the file (epochs for
    steps) takes the file's place. `given` are values as they are, by their dotted names. Raises ValueError naming every
    key that is unknown (with the nearest known one) or has a wrong value, FileNotFoundError for a file that is not
    there, LookupError for an unknown recipe.
    """
    values = {} if path is None else read_recipe(path)
    said = [override.partition("=") for override in overrides]
    for name, sign, text in said:
        if not sign or not name:
            raise ValueError(f"--set takes name=value, for example optim.lr=0.001, got {name + sign + text!r}")
    make_way(values, [name for name, *_ in said])
    named = [as_value(text) for name, _, text in said if name == "objective.name"]
    values = for_objective(values, named[-1] if named else None)
    for name, _, text in said:
        put(values, name.split("."), as_value(text))
    for name, value in given.items():
        put(values, name.split("."), value)
    return make_config(values)


def make_config(values: dict[str, Any]) -> Config:
    """A checked configuration from nested values; raises ValueError as `load_config` does."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ValueError("the configuration is refused: " + "; ".join(_faults(error))) from None


def _faults(error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        names = [str(part) for part in fault["loc"]]
        kind = names.pop(1) if names[:1] == ["objective"] and names[1:] and names[1] in OBJECTIVE_SECTIONS else "fcmae"
        name = ".".join(names)
        if fault["type"] == "extra_forbidden":
            yield f"unknown key {name!r}{nearest(names[-1], _known(names[:-1], kind))}"
        elif fault["type"] == "value_error" and isinstance(fault["input"], dict):  # of a section as a whole
            yield f"{name}: {fault['ctx']['error']}".removeprefix(": ")
        elif fault["type"] == "value_error":
            yield f"{name} = {fault['input']!r}: {fault['ctx']['error']}"
        elif fault["type"] in ("model_type", "model_attributes_type"):
            yield f"{name} = {fault['input']!r}: expected a section of its own; say for example {name}.name"
        else:
            yield f"{name} = {fault['input']!r}: {fault['msg'].lower()}"


def _known(path: list[str], kind: str) -> list[str]:
    section: Any = Config
    for name in path:
        section = OBJECTIVE_SECTIONS[kind] if name == "objective" else section.model_fields[name].annotation
    return list(section.model_fields)
