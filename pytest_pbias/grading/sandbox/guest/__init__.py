"""Source of the programs that run inside the sandbox; nothing here is imported by the host.

They are joined in this order and given to a bare interpreter: ``confine`` (after its constants),
``limits``, ``values``, then ``candidate`` or ``evaluator``.
"""

from __future__ import annotations

import functools
from importlib.resources import files

_FUTURE = "from __future__ import annotations\n"


@functools.cache
def source(*names: str) -> str:
    """The joined source of the named programs."""
    texts = [(files(__package__) / f"{name}.py").read_text(encoding="utf-8") for name in names]
    return "\n".join(text.replace(_FUTURE, "") for text in texts)
