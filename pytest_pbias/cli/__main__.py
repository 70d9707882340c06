"""``python -m pytest_pbias.cli`` is ``pbias``."""

import sys

from pytest_pbias.cli import main

sys.exit(main())
