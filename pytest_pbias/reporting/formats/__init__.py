"""The JSON that reports and comparisons are written in: one model for each part.

Findings become JSON through :func:`document` only, and the published JSON Schemas are made from the
same models (``nox -s schemas``). Fields are added within a version, never renamed or removed.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from pytest_pbias.reporting.formats.across_runs import ComparisonDocument, HistoryDocument
from pytest_pbias.reporting.formats.parts import document
from pytest_pbias.reporting.formats.report import ReportDocument, StagesDocument
from pytest_pbias.reporting.schemas import SchemaName

__all__ = [
    "ComparisonDocument",
    "HistoryDocument",
    "ReportDocument",
    "StagesDocument",
    "document",
    "make_schema",
]


class _WithoutTitles(GenerateJsonSchema):
    """A field's name says as much as the title that would be made of it."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def make_schema(name: SchemaName) -> dict[str, Any]:
    """The JSON Schema of a document, made from its model."""
    models: dict[SchemaName, type[BaseModel]] = {
        "report": ReportDocument,
        "comparison": ComparisonDocument,
        "history": HistoryDocument,
        "stages": StagesDocument,
    }
    return models[name].model_json_schema(schema_generator=_WithoutTitles, mode="serialization")
