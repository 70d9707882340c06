"""The way into the sandbox by Landlock and the filter alone."""

from __future__ import annotations


def before_limits():
    """Find everything that only the user outside can, and give up every right."""
    global RULES
    RULES = rules(FOLDERS, FILES, DEVICES)
    reach = hold_modules()
    become_nobody()
    reach()


def after_limits():
    """Allow reading the interpreter and computing, no more."""
    restrict(RULES)
    filter_calls(FILTER)
