"""Measure personalization bias of language models, and gate releases on it."""

__version__ = "0.1.0"
