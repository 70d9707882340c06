"""``python -m pytest_pbias.cli``, which ``accelerate launch -m`` can start on several GPUs."""

from __future__ import annotations

import sys

from pytest_pbias.cli import main

if __name__ == "__main__":
    sys.exit(main())
