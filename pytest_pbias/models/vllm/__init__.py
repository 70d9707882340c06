"""A ``vllm serve`` of our own: found, started, waited for, watched, and stopped."""

from pytest_pbias.models.vllm.command import VllmSettings, find_vllm
from pytest_pbias.models.vllm.server import START_SECONDS, VllmServer
from pytest_pbias.models.vllm.weights import weights_identity

__all__ = ["START_SECONDS", "VllmServer", "VllmSettings", "find_vllm", "weights_identity"]
