"""What single values of a request may look like: how they are read, described and refused.

A shape is a pattern with words: who sends something else reads the words, a generated client the pattern.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shape:
    """Text that ``pattern`` matches; ``words`` complete the sentence "The field …"."""

    pattern: str
    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        shape = re.compile(self.pattern)

        def check(text: str) -> str:
            if shape.fullmatch(text) is None:
                raise PydanticCustomError("shape", "{words}", {"words": self.words})
            return text

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern}


@dataclass(frozen=True, slots=True)
class _EmptyUnsets:
    """An empty text is null. A union with ``Literal[""]`` would name its branches in what it refuses."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: None if value == "" else value, handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        described = handler(schema)
        choices = described.pop("anyOf")
        return {**described, "anyOf": [choices[0], {"const": "", "type": "string"}, *choices[1:]]}


Clearable = Annotated[T | None, _EmptyUnsets()]
"""A value to set; an empty text or null unsets what it is sent for, as at Stripe."""


def up_to(longest: int) -> StringConstraints:
    """Text of 1 to ``longest`` characters."""
    return StringConstraints(strict=True, min_length=1, max_length=longest)


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    return text


STORABLE: Final = AfterValidator(_storable)
"""PostgreSQL cannot store a NUL."""
WITHOUT_SPACES: Final = Shape("^[!-~]+$", "must be printable ASCII without spaces")

CurrencyCode = Annotated[str, Shape("^[a-z]{3}$", "must be a lower-case ISO 4217 code, such as usd")]
Url = Annotated[str, up_to(2048), Shape("^https?://[!-~]+$", "must be an http or https URL")]


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time that exists in UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""RFC 3339, in UTC once it is read."""
