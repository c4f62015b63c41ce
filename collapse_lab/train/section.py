"""What every section of a configuration is: frozen, finite, without unknown keys, its values of the type they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Share: TypeAlias = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_written(cls, value: Any, info: ValidationInfo) -> Any:
        """Neither is true a number nor "5": pydantic alone would take both."""
        kinds = set(_kinds(cls.model_fields[str(info.field_name)].annotation)) & set(_WORDS)
        numbers = {int, float} if kinds & {int, float} else set()
        for each in value if isinstance(value, list | tuple) else [value]:
            if kinds and type(each) in set(_WORDS) - kinds - numbers:
                expected = " or ".join(sorted(_WORDS[kind] for kind in kinds))
                raise ValueError(f"expected {expected}, got {_WORDS[type(each)]}")
        return value


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _kinds(annotation: Any) -> Iterator[type]:
    """The plain types that values of an annotation may have, also inside tuples."""
    if get_origin(annotation) is Literal:
        yield from map(type, get_args(annotation))
    elif get_origin(annotation) is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif get_args(annotation):
        for inside in get_args(annotation):
            yield from _kinds(inside)
    elif isinstance(annotation, type):
        yield annotation
