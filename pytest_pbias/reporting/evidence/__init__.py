"""A run as evidence: what was asked and found, sealed by hashes, and what cards say of it."""

from pytest_pbias.reporting.evidence.bundle import make_bundle, verify_bundle
from pytest_pbias.reporting.evidence.sbom import load_cyclonedx

__all__ = ["load_cyclonedx", "make_bundle", "verify_bundle"]
