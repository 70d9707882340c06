"""Results as JSON can hold them."""

from __future__ import annotations

import math
from dataclasses import is_dataclass
from enum import Enum
from typing import Any


def plain_data(value: Any) -> Any:
    """Lists, dicts, texts and numbers: floats rounded to 6 decimals, null where not finite."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain_data(field) for name, field in vars_of(value).items()}
    if isinstance(value, dict):
        return {str(key): plain_data(field) for key, field in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(field) for field in value]
    if isinstance(value, float):
        return round(value, 6) + 0.0 if math.isfinite(value) else None
    return value


def vars_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, one level deep."""
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
