"""Asking every request once, and keeping every answer."""

from pytest_pbias.collecting.collector import Collector
from pytest_pbias.collecting.store import Store
from pytest_pbias.collecting.waiting import store_wait

__all__ = ["Collector", "Store", "store_wait"]
