"""Personas as test files: ``persona_*.pbias.toml`` -> identities, tasks and margins."""

from pytest_pbias.personas.reading import PersonaFile, read_personas

__all__ = ["PersonaFile", "read_personas"]
