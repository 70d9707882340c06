"""Who answers: model names, endpoints, and the servers this package starts itself.

The client's module is not imported here: the ``openai`` package takes long to load, and a run
whose answers are all stored never needs it.
"""

from pytest_pbias.models.aliases import resolve_model
from pytest_pbias.models.chat import ChatRequest, EndpointError, Response, Sampling
from pytest_pbias.models.spec import ModelSpec

__all__ = [
    "ChatRequest",
    "EndpointError",
    "ModelSpec",
    "Response",
    "Sampling",
    "resolve_model",
]
