"""The light pytest11 entry: options and marks; everything else loads when a test asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_pbias.plugin import options

if TYPE_CHECKING:
    from pytest_pbias.grading.judges import Judge
    from pytest_pbias.grading.traits import Trait
    from pytest_pbias.plugin.cell import CellFixture
    from pytest_pbias.reporting.trackers import RunReport
    from pytest_pbias.tasks import OwnTask, Task

MARK = "pbias"


class PbiasHooks:
    """Hooks that suites and other plugins may implement."""

    @pytest.hookspec(firstresult=True)
    def pytest_pbias_default_model(self, config: pytest.Config) -> str | None:
        """Return the model to measure where neither command line nor ini file names one."""

    @pytest.hookspec(firstresult=True)
    def pytest_pbias_target(self, config: pytest.Config) -> Callable[..., object] | None:
        """Return the application to measure where no option names a model or an application."""

    @pytest.hookspec
    def pytest_pbias_tasks(self, config: pytest.Config) -> Iterable[OwnTask | Task] | None:
        """Return tasks of your own; see the documentation of tasks."""

    @pytest.hookspec
    def pytest_pbias_judges(self, config: pytest.Config) -> Iterable[Judge] | None:
        """Return judges to choose from with ``--pbias-judge``; see the documentation of judges."""

    @pytest.hookspec
    def pytest_pbias_report(self, report: RunReport, config: pytest.Config) -> None:
        """Do something with the finished report, once a session: its files are written."""

    @pytest.hookspec
    def pytest_pbias_traits(self, config: pytest.Config) -> Iterable[Trait] | None:
        """Return further traits to compare answers by; see the documentation of traits."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register options."""
    options.add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register this plugin's own hooks."""
    pluginmanager.add_hookspecs(PbiasHooks)


def pytest_configure(config: pytest.Config) -> None:
    """Check the options and register the mark; a run that only plans needs no xdist workers."""
    try:
        options.check_ini_names(config)
        options.require_values(config)
        plan_only: bool = options.read_option(config, "plan")
    except Exception as error:
        from pytest_pbias.errors import ConfigurationError  # every session comes by; few need it

        if not isinstance(error, ConfigurationError):
            raise
        raise pytest.UsageError(f"pbias: {options.described(error)}") from None
    if plan_only and hasattr(config.option, "dist"):
        config.option.dist, config.option.tx = "no", []
    config.addinivalue_line(
        "markers",
        "pbias(tasks, identities): measure personalization bias; parametrizes the `cell` fixture "
        "over identity x task",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize ``cell``; the first test that asks for it loads the rest of the plugin."""
    if metafunc.definition.get_closest_marker(MARK) is None:
        return
    from pytest_pbias.plugin.collection import parametrize_cells

    parametrize_cells(metafunc)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect ``persona_*.pbias.toml`` as test files."""
    if not (file_path.name.startswith("persona_") and file_path.name.endswith(".pbias.toml")):
        return None
    from pytest_pbias.plugin.collection import PersonaTests

    return PersonaTests.from_parent(parent, path=file_path)


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> CellFixture:
    """One identity under one task, with its outcomes: a ``pytest_pbias.CellFixture``."""
    if not hasattr(request, "param"):
        pytest.fail(
            "the `cell` fixture needs @pytest.mark.pbias(tasks=[...]) on the test", pytrace=False
        )
    from pytest_pbias.plugin.cell import make_cell

    return make_cell(request)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: object, ids: list[str]) -> None:
    """On the xdist controller: ask the requests that the workers planned."""
    from pytest_pbias.plugin.collection import start_on_controller

    start_on_controller(node)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object, error: object) -> None:
    """On the xdist controller: stop where a worker has found a mistake while it planned."""
    from pytest_pbias.plugin.xdist import raise_refusal

    raise_refusal(node)
