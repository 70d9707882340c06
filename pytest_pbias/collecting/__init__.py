"""Asking every request once, and keeping every answer."""
