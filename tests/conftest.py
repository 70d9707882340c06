"""What every test shares."""

from __future__ import annotations

from hypothesis import settings

# A deadline measures the machine: timings belong to benchmarks/perf/.
settings.register_profile("pbias", deadline=None)
settings.load_profile("pbias")
