"""Recipes for development: ``nox -l`` lists them, ``nox -s lint types`` runs two.

They run in the environment that nox is installed in (``pip install -e '.[dev]'``): nothing is
installed again and again. The gate (``bash .ci/run``) is what starts from a fresh one.
"""

from __future__ import annotations

import sys

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "imports", "tests"]

ALL_CORES = ("-n", "auto", "--dist", "worksteal")


@nox.session
def lint(session: nox.Session) -> None:
    """Style: ruff, and its format."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(name="format")
def format_(session: nox.Session) -> None:
    """Mend what ruff can mend."""
    session.run("ruff", "check", "--fix", ".")
    session.run("ruff", "format", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types: strict in the package, complete in the tests."""
    session.run("mypy")


@nox.session
def imports(session: nox.Session) -> None:
    """The direction of imports."""
    session.run("lint-imports")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests but the slow ones; arguments after -- replace the folder."""
    session.run("pytest", *(session.posargs or ["tests"]), *ALL_CORES)


@nox.session
def slow(session: nox.Session) -> None:
    """All tests."""
    session.run("pytest", "tests", "--slow", *ALL_CORES)


@nox.session
def durations(session: nox.Session) -> None:
    """Where the time of the tests goes."""
    session.run("pytest", "tests", "--durations=40", "--durations-min=1", *ALL_CORES)


@nox.session
def coverage(session: nox.Session) -> None:
    """Lines and branches that the tests (but the slow ones) reach, in the pytest process itself."""
    measured = ("--cov=pytest_pbias", "--cov-branch", "--cov-report=term:skip-covered")
    session.run("pytest", "tests", *measured, *ALL_CORES)


@nox.session
def goldens(session: nox.Session) -> None:
    """Write the golden outputs again, and show what is different."""
    test = "tests/plugin/test_goldens.py"
    session.run("pytest", test, "--slow", env={"PBIAS_WRITE_GOLDENS": "1"}, success_codes=[0, 1])
    session.run("git", "diff", "--stat", "tests/plugin/goldens", external=True)


@nox.session
def schemas(session: nox.Session) -> None:
    """Write the JSON Schemas of reports again, from the models of reporting/formats/."""
    test = "tests/reporting/test_schemas.py"
    session.run("pytest", test, "-k", "published", env={"PBIAS_WRITE_SCHEMAS": "1"})
    session.run("git", "diff", "--stat", "pytest_pbias/reporting/schemas", external=True)


@nox.session(venv_backend="venv")
def inspect(session: nox.Session) -> None:
    """The tests that read .eval logs, with Inspect in an environment of its own on the path."""
    session.install("inspect_ai==0.3.285")
    tests = "tests/outcomes/importing"
    session.run(sys.executable, "-m", "pytest", tests, external=True)


@nox.session
def kills(session: nox.Session) -> None:
    """Sessions killed twenty times at random moments; before a release."""
    rounds = {"PBIAS_KILL_ROUNDS": "20"}
    session.run("pytest", "tests/plugin", "-k", "killed", "--slow", env=rounds)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site, in site/."""
    session.run("mkdocs", "build", "--strict", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def perf(session: nox.Session) -> None:
    """What collecting costs, beside the bare client."""
    session.run("python", "benchmarks/perf/collecting.py", *session.posargs)


@nox.session
def gate(session: nox.Session) -> None:
    """The gate as CI runs it, in a fresh environment."""
    session.run("bash", ".ci/run", external=True)
