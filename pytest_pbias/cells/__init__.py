"""Identity x task: cells, their baselines, and the persona files that name them."""

from pytest_pbias.cells.persona_file import PersonaFile, read_personas

__all__ = ["PersonaFile", "read_personas"]
