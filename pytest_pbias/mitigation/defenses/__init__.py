"""Prompt defences: named changes of the prompt, asked beside the prompt as it is."""

from pytest_pbias.mitigation.defenses.base import (
    NO_DEFENSE,
    Defense,
    Demonstration,
    defense_from_plain,
    defense_to_plain,
)
from pytest_pbias.mitigation.defenses.catalogue import resolve_defenses, shipped_defenses
from pytest_pbias.mitigation.defenses.rendering import render_defended

__all__ = [
    "NO_DEFENSE",
    "Defense",
    "Demonstration",
    "defense_from_plain",
    "defense_to_plain",
    "render_defended",
    "resolve_defenses",
    "shipped_defenses",
]
