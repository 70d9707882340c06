"""The way into the sandbox from within bubblewrap's namespaces."""

from __future__ import annotations


def before_limits():
    """Make the scratch folder and give up every right."""
    mount_scratch(*SCRATCH)
    become_nobody()


def after_limits():
    """Allow computing and files, no more."""
    filter_calls(FILTER)
