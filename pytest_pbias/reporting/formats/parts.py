"""What the JSON of reports is made of: numbers, texts, and parts that several documents have."""

from __future__ import annotations

import math
from enum import Enum
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)

from pytest_pbias.errors import DataError

ADDRESS = "https://pytest-pbias.readthedocs.io"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
IGNORE = (
    "Readers must ignore fields that they do not know: fields are added within a version, never "
    "renamed or removed."
)


def _plain(value: Any) -> Any:
    """Lists, dicts, texts and numbers: floats rounded to 6 decimals, None where not finite."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {str(key): _plain(field) for key, field in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(field) for field in value]
    if isinstance(value, float):
        return round(value, 6) + 0.0 if math.isfinite(value) else None
    return value


_SHARE = {"minimum": 0, "maximum": 1}
Number = Annotated[int | float, BeforeValidator(_plain), WithJsonSchema({"type": "number"})]
MaybeNumber = Annotated[
    int | float | None, BeforeValidator(_plain), WithJsonSchema({"type": ["number", "null"]})
]
Share = Annotated[
    float, BeforeValidator(_plain), Field(ge=0, le=1), WithJsonSchema({"type": "number"} | _SHARE)
]
MaybeShare = Annotated[
    Annotated[float, Field(ge=0, le=1)] | None,
    BeforeValidator(_plain),
    WithJsonSchema({"type": ["number", "null"]} | _SHARE),
]
Level = Annotated[
    float,
    Field(gt=0, lt=1),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}),
]
Count = Annotated[int, Field(ge=0)]
MaybeCount = Annotated[Count | None, WithJsonSchema({"type": ["integer", "null"], "minimum": 0})]
MaybeText = Annotated[str | None, WithJsonSchema({"type": ["string", "null"]})]
Facts = Annotated[dict[str, Any], BeforeValidator(_plain)]

Low = Annotated[MaybeNumber, Field(description="lower limit")]
High = Annotated[MaybeNumber, Field(description="upper limit")]
Reason = Annotated[str, Field(description="one line for people")]
Warned = Annotated[
    str,
    Field(description="what a reader must know of it, such as few clusters; else empty"),
]
Defended = Annotated[str, Field(description="none where the prompt was not defended")]


Cued = Annotated[str, Field(description="the cue, where the run has several; else empty")]


class Part(BaseModel):
    """A part of a document, made of the finding that has the same fields."""

    model_config = ConfigDict(
        from_attributes=True, json_schema_serialization_defaults_required=True
    )


class Bias(Part):
    """Personalization bias, percentage points."""

    raw: Number = Field(description="the paper's score, percentage points")
    estimate: Number = Field(description="debiased PB, never below 0")
    low: Low
    high: High
    upper: MaybeNumber = Field(description="one-sided upper limit")
    pvalue: MaybeShare = Field(description="of PB = 0")
    n_items: Count = Field(description="items it was measured on")
    n_identities: Count = Field(description="identities it is over")
    noise_floor: Number = Field(
        description="what a model without bias would score raw on this table"
    )


class Change(Part):
    """New minus old, percentage points."""

    estimate: Number = Field(description="new minus old, percentage points")
    low: Low
    high: High
    pvalue: MaybeShare = Field(description="two-sided, of no change")


def document(model: type[Part], content: dict[str, Any]) -> dict[str, Any]:
    """The content as JSON can hold it, in the fields of ``model``.

    ``content`` has findings in it: what has fields of the same names.

    Raises:
        DataError: it does not fit the format, which is a fault of this package.
    """
    try:
        made = model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(
            f"the report does not fit its own format at {where}: {first['msg']}; this is a fault "
            "of pytest-pbias, please tell its authors"
        ) from None
    return made.model_dump(mode="json", by_alias=True)
