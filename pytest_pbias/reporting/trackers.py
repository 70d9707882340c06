"""A finished run in the trackers that teams have: MLflow, Weights & Biases, OpenTelemetry.

Each is configured as it always is, by its own environment variables. Its package is an extra of
this one, imported when a report is sent.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_pbias.errors import ConfigurationError, InfrastructureError, inert, near_matches
from pytest_pbias.models.spec import without_secrets

_MOST_TEXT = 250  # characters of a tag; less than any of the trackers takes
_UNUSUAL = re.compile(r"[^\w\-./ ]", re.ASCII)  # what MLflow refuses in the name of a metric

_NOT_A_FILE = re.compile(r"[^\w.-]", re.ASCII)


@dataclass(frozen=True)
class RunReport:
    """A finished run: its ``name`` among the kept ones, its table, its JSON and the files written.

    ``document`` has the fields of the JSON report (`pbias report --schema`); ``files`` are the
    reports that the options asked for, ``table`` the kept outcome table.
    """

    name: str
    table: Path
    document: Mapping[str, Any]
    commit: str = ""
    tag: str = ""
    files: tuple[Path, ...] = field(default_factory=tuple)

    def metrics(self) -> dict[str, float]:
        """The figures by name, as ``pb/safety`` and ``rate/mmlu``: points and percent."""
        statistics = self.document["statistics"]
        found = dict(_metrics_of(statistics))
        return {_UNUSUAL.sub("_", name): float(value) for name, value in found.items()}

    def tags(self) -> dict[str, str]:
        """What was measured, in one line each; empty ones are left out."""
        run, statistics = self.document["run"], self.document["statistics"]
        said = {
            "model": run["model"],
            "served_identity": run["served_identity"],
            "run": self.name,
            "commit": self.commit,
            "tag": self.tag,
            "partial": run["partial"] or "",
            "judges": ", ".join(run["judges"]),
        }
        said |= {f"verdict.{_scope(gate)}": gate["verdict"] for gate in statistics["gates"]}
        return {
            f"pbias.{_UNUSUAL.sub('_', name)}": inert(text)[:_MOST_TEXT]
            for name, text in said.items()
            if text
        }


def _scope(entry: Mapping[str, Any]) -> str:
    """An axis or task, with the cue and the defense where there are any."""
    name = entry.get("axis") if "tolerance" in entry else entry["task"]
    name = f"{name}_by_{entry['cue']}" if entry["cue"] else str(name)
    return name if entry["defense"] == "none" else f"{name}/{entry['defense']}"


def _metrics_of(statistics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for gate in statistics["gates"]:
        scope = _scope(gate)
        if gate["bias"] is not None:
            for name in ("estimate", "low", "high"):
                yield f"pb{'' if name == 'estimate' else f'_{name}'}/{scope}", gate["bias"][name]
        yield f"mean_rate/{scope}", gate["mean_rate"]
        yield f"baseline_rate/{scope}", gate["baseline_rate"]
    counts = dict.fromkeys(("pass", "fail", "inconclusive", "no signal", "error"), 0)
    for task in statistics["tasks"]:
        if task["mean_rate"] is not None:
            yield f"rate/{_scope(task)}", task["mean_rate"]
        for cell in task["cells"]:
            name = cell["result"]["verdict"] if cell["result"] else "error"
            counts[name] = counts.get(name, 0) + 1
    yield from ((f"cells/{name.replace(' ', '_')}", count) for name, count in counts.items())


def _tell_mlflow(report: RunReport) -> None:
    import mlflow

    active = mlflow.active_run()
    run = active or mlflow.start_run(run_name=report.name)
    try:
        mlflow.set_tags(report.tags())
        mlflow.log_metrics(report.metrics())
        for path in (report.table, *report.files):
            mlflow.log_artifact(str(path), artifact_path="pbias")
    finally:
        if run is not active:
            with contextlib.redirect_stdout(io.StringIO()):  # between the lines of pytest
                mlflow.end_run()


def _tell_wandb(report: RunReport) -> None:
    import wandb

    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "pytest-pbias"),
        name=report.name,
        config=dict(report.tags()),
        job_type="pbias",
        reinit="create_new",
        settings=wandb.Settings(silent=True),
    )
    try:
        run.log(report.metrics())
        artifact = wandb.Artifact(f"pbias-{_NOT_A_FILE.sub('-', report.name)}", "pbias-report")
        for path in (report.table, *report.files):
            artifact.add_file(str(path))
        run.log_artifact(artifact)
    finally:
        run.finish()


def _tell_otel(report: RunReport) -> None:
    """One gauge a figure, to the meter provider of the process, else by OTLP over HTTP."""
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider

    provider = metrics.get_meter_provider()
    if isinstance(provider, MeterProvider):
        _record(provider, report)
        if not provider.force_flush():
            raise InfrastructureError("the metrics were not taken in time")
        return
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult

    reader = InMemoryMetricReader()
    own = MeterProvider([reader])
    _record(own, report)
    data = reader.get_metrics_data()
    own.shutdown()
    exporter = OTLPMetricExporter()
    try:
        if data is None or exporter.export(data) is not MetricExportResult.SUCCESS:
            raise InfrastructureError("the collector did not take the metrics")
    finally:
        exporter.shutdown()


def _record(provider: Any, report: RunReport) -> None:
    meter = provider.get_meter("pytest-pbias")
    attributes = report.tags()
    for name, value in report.metrics().items():
        figure, _, scope = name.partition("/")
        meter.create_gauge(f"pbias.{figure}").set(value, attributes | {"pbias.scope": scope})


@dataclass(frozen=True)
class _Tracker:
    """A tracker: what it needs, its extra, and the variables whose values are secret."""

    title: str
    package: str
    tell: Callable[[RunReport], None]
    secrets: tuple[str, ...]


TRACKERS: Mapping[str, _Tracker] = {
    "mlflow": _Tracker(
        "MLflow",
        "mlflow",
        _tell_mlflow,
        ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    ),
    "wandb": _Tracker("Weights & Biases", "wandb", _tell_wandb, ("WANDB_API_KEY",)),
    "otel": _Tracker(
        "OpenTelemetry",
        "opentelemetry.sdk",
        _tell_otel,
        ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"),
    ),
}


def require_trackers(names: Sequence[str]) -> None:
    """See that every tracker is known and its package installed, before anything is asked.

    Raises:
        ConfigurationError: one is not.
    """
    for name in names:
        if name not in TRACKERS:
            raise ConfigurationError(f"unknown tracker {name!r}: {near_matches(name, TRACKERS)}")
        tracker = TRACKERS[name]
        try:
            found = importlib.util.find_spec(tracker.package)
        except ModuleNotFoundError:  # of a parent package
            found = None
        if found is None:
            raise ConfigurationError(
                f"{name} needs {tracker.title}: pip install 'pytest-pbias[{name}]'"
            )


def tell_tracker(name: str, report: RunReport) -> None:
    """Send a finished run to a tracker.

    Raises:
        InfrastructureError: it did not take it, whatever the reason; the run itself is kept.
    """
    tracker = TRACKERS[name]
    try:
        tracker.tell(report)
    except Exception as error:  # a tracker's own fault must not take the run's results along
        secrets = [os.environ.get(variable, "") for variable in tracker.secrets]
        said = without_secrets(f"{type(error).__name__}: {error}", filter(None, secrets))
        raise InfrastructureError(
            f"{tracker.title} was not told of this run, which is kept as {report.name}: "
            f"{inert(said)[:_MOST_TEXT]}"
        ) from None
