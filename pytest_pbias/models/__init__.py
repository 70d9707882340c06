"""Who answers: model names, endpoints, and the servers this package starts itself."""

from pytest_pbias.models.client import Endpoint
from pytest_pbias.models.probe import check_served_model, open_endpoint, supports_system_role
from pytest_pbias.models.resolve import resolve_model
from pytest_pbias.models.spec import ModelSpec

__all__ = [
    "Endpoint",
    "ModelSpec",
    "check_served_model",
    "open_endpoint",
    "resolve_model",
    "supports_system_role",
]
