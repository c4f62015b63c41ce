"""The sections of a configuration that say what is learnt, one a name in OBJECTIVES."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, PositiveFloat, Tag

from collapse_lab.registry import Registry
from collapse_lab.train.section import Section, Share

PositiveShare: TypeAlias = Annotated[float, Field(gt=0, le=1)]


class ObjectiveConfig(Section):
    """What it learns, a name in OBJECTIVES; its options are those of its own section."""

    name: str


class FCMAEConfig(ObjectiveConfig):
    """See `FCMAE`, and DECODERS for the decoder. Its default width is the paper's 512."""

    name: str = "fcmae"
    mask_ratio: float = Field(default=0.6, gt=0, lt=1)
    decoder: Literal["convnext", "transformer", "unet"] = "convnext"
    decoder_dim: int = Field(default=512, ge=1)
    decoder_depth: int = Field(default=1, ge=0)
    norm_pix: bool = True
    convolution: Literal["sparse", "dense"] = "sparse"
    init: Literal["ours", "official"] = "ours"


class MAEConfig(ObjectiveConfig):
    """See `MAE`. The decoder's defaults are those of the paper."""

    name: str = "mae"
    mask_ratio: float = Field(default=0.75, gt=0, lt=1)
    decoder_dim: int = Field(default=512, ge=1)
    decoder_depth: int = Field(default=8, ge=0)
    decoder_heads: int = Field(default=16, ge=1)
    norm_pix: bool = True


class SupervisedConfig(ObjectiveConfig):
    """See `Supervised`. mixup and cutmix are the two parameters of their Beta distributions, 0 turns them off."""

    name: str = "supervised"
    label_smoothing: Share = 0.0
    mixup: float = Field(default=0.0, ge=0)
    cutmix: float = Field(default=0.0, ge=0)
    erasing: float = Field(default=0.0, ge=0, le=1)


class RotationConfig(ObjectiveConfig):
    """See `Rotation`."""

    name: str = "rotation"


class ColorizationConfig(ObjectiveConfig):
    """See `Colorization`. mean and std are those of the data, which a resolved configuration holds here too."""

    name: str = "colorization"
    mean: tuple[float, float, float] | None = None
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None


class ViewsConfig(ObjectiveConfig):
    """How an objective that compares two views makes them, see `Views`. What data.* changes comes before."""

    crop: tuple[PositiveShare, PositiveShare] = (0.2, 1.0)
    flip: bool = True
    jitter: float = Field(default=0.4, ge=0, le=1)
    noise: float = Field(default=0.0, ge=0)


class SimSiamConfig(ViewsConfig):
    """See `SimSiam`. The default widths are the paper's."""

    name: str = "simsiam"
    stop_gradient: bool = True
    projector_dim: int = Field(default=2048, ge=1)
    predictor_dim: int = Field(default=512, ge=1)
    output_norm: bool = True


class VICRegConfig(ViewsConfig):
    """See `VICReg`. Three weights, 0 turns a term off; they and the default widths are the paper's."""

    name: str = "vicreg"
    invariance: float = Field(default=25.0, ge=0)
    variance: float = Field(default=25.0, ge=0)
    covariance: float = Field(default=1.0, ge=0)
    expander_dim: int = Field(default=8192, ge=1)
    embedding_dim: int = Field(default=8192, ge=1)


OBJECTIVE_SECTIONS: Registry[type[ObjectiveConfig]] = Registry(
    "objective",
    {
        "fcmae": FCMAEConfig,
        "mae": MAEConfig,
        "supervised": SupervisedConfig,
        "rotation": RotationConfig,
        "colorization": ColorizationConfig,
        "simsiam": SimSiamConfig,
        "vicreg": VICRegConfig,
    },
)


def for_objective(values: dict[str, Any], name: Any) -> dict[str, Any]:
    """Nested values for an objective of this name: the options of another one fall away. None leaves them.

    A section without a name is FCMAE's; what is no section stays, to be refused with its place.
    """
    section = values.get("objective", {})
    if name is None or not isinstance(section, dict) or section.get("name", FCMAEConfig().name) == name:
        return values
    return {key: value for key, value in values.items() if key != "objective"}


def _kind(objective: Any) -> str:
    """Which section; raises LookupError with the nearest name for one that is unknown, FCMAE's without a name."""
    name = objective.get("name", "fcmae") if isinstance(objective, dict) else getattr(objective, "name", "fcmae")
    if not isinstance(name, str):
        return "fcmae"  # whose section refuses it, with its place
    OBJECTIVE_SECTIONS[name]
    return name


AnyObjective: TypeAlias = Annotated[
    Annotated[FCMAEConfig, Tag("fcmae")]
    | Annotated[MAEConfig, Tag("mae")]
    | Annotated[SupervisedConfig, Tag("supervised")]
    | Annotated[RotationConfig, Tag("rotation")]
    | Annotated[ColorizationConfig, Tag("colorization")]
    | Annotated[SimSiamConfig, Tag("simsiam")]
    | Annotated[VICRegConfig, Tag("vicreg")],
    Discriminator(_kind),
]
