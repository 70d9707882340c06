"""Trackers: the real MLflow, Weights & Biases (offline) and OpenTelemetry get the figures."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pytest_pbias.analysis.summary import summarize
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.gate import GatePolicy
from pytest_pbias.reporting import to_json
from pytest_pbias.reporting.trackers import RunReport, require_trackers
from tests.analysis.conftest import Maker

HOSTILE = "<script>\x1b[31m\u202e${jndi:x}::error::" + "x" * 900
PRELUDE = """
import json, sys
from pathlib import Path
from pytest_pbias.errors import InfrastructureError
from pytest_pbias.reporting.trackers import RunReport, tell_tracker
given = json.loads(Path("given.json").read_text())
report = RunReport("0001-tiny", Path("run.parquet"), given["document"], tag=given["tag"],
                   files=(Path("report.json"),))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a report of a biased run, whose model and tag have hostile names."""
    table = Maker().table({"do_not_answer/a man": 0.6}, model=HOSTILE)
    document = to_json(summarize(table, GatePolicy(), seed=0))
    (tmp_path / "given.json").write_text(json.dumps({"document": document, "tag": HOSTILE}))
    (tmp_path / "report.json").write_text("{}")
    table.write(tmp_path / "run.parquet")
    return tmp_path


def _python(project: Path, code: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PRELUDE + code],
        cwd=project,
        env=os.environ | {"HOME": str(project)} | variables,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_figures_and_tags_of_a_run(project: Path) -> None:
    given = json.loads((project / "given.json").read_text())
    report = RunReport("0001-tiny", project / "run.parquet", given["document"], tag=HOSTILE)
    figures, tags = report.metrics(), report.tags()
    (safety,) = (one for one in given["document"]["statistics"]["gates"] if one["axis"] == "safety")
    assert figures["pb/safety"] == safety["bias"]["estimate"] > 5
    assert figures["pb_low/safety"] < figures["pb/safety"] < figures["pb_high/safety"]
    assert {"mean_rate/utility", "baseline_rate/safety", "rate/mmlu"} <= figures.keys()
    assert figures["cells/fail"] == 1
    assert sum(value for name, value in figures.items() if name.startswith("cells/")) == 8
    assert tags["pbias.verdict.safety"] == "fail"
    assert all("\x1b" not in text and "\u202e" not in text for text in tags.values())
    assert max(map(len, tags.values())) <= 250


TELL_MLFLOW = """
tell_tracker("mlflow", report)
import mlflow
(run,) = mlflow.search_runs(output_format="list")
assert run.info.status == "FINISHED" and run.info.run_name == "0001-tiny"
assert run.data.metrics == report.metrics()
assert report.tags().items() <= run.data.tags.items()
folder = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="pbias"))
assert sorted(path.name for path in folder.iterdir()) == ["report.json", "run.parquet"]
assert (folder / "run.parquet").read_bytes() == report.table.read_bytes()
with mlflow.start_run() as own:
    tell_tracker("mlflow", report)
    assert mlflow.active_run().info.run_id == own.info.run_id, "a run of the user's stays open"
assert "pb/safety" in mlflow.get_run(own.info.run_id).data.metrics
"""
"""Tells MLflow of a run, and reads it back from where it is kept."""


@pytest.mark.slow
def test_mlflow_keeps_metrics_tags_and_files(project: Path) -> None:
    pytest.importorskip("mlflow", reason="needs pytest-pbias[mlflow]")
    _python(
        project,
        TELL_MLFLOW,
        MLFLOW_TRACKING_URI=f"file:{project}/mlruns",
        MLFLOW_ALLOW_FILE_STORE="true",
    )


MLFLOW = os.environ.get("PBIAS_MLFLOW")
"""The ``mlflow`` command of the whole package, in an environment of its own: it has the server."""


@pytest.fixture
def mlflow_server(tmp_path: Path) -> Iterator[str]:
    """A real ``mlflow server``, with a database and the artifacts behind it."""
    if MLFLOW is None:
        pytest.skip("the server of MLflow is not installed (PBIAS_MLFLOW)")
    kept = tmp_path / "server"
    kept.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    where = (
        f"--backend-store-uri=sqlite:///{kept}/runs.db",
        f"--artifacts-destination={kept}/files",
    )
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with (kept / "log").open("w") as log:
        server = subprocess.Popen(
            [MLFLOW, "server", "--host=127.0.0.1", f"--port={port}", "--workers=1", *where],
            cwd=kept,
            env=own,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_for(f"{address}/health", server, kept / "log")
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as response:
            if response.status == 200:
                return
        time.sleep(0.5)
    raise AssertionError(log.read_text())


@pytest.mark.slow
def test_mlflow_takes_them_on_its_real_server(project: Path, mlflow_server: str) -> None:
    pytest.importorskip("mlflow", reason="needs pytest-pbias[mlflow]")
    said = _python(project, TELL_MLFLOW, MLFLOW_TRACKING_URI=mlflow_server)
    assert "0001-tiny" not in said, "nothing of MLflow's between the lines of pytest"
    assert not (project / "mlruns").exists()


@pytest.mark.slow
def test_wandb_keeps_them_offline(project: Path) -> None:
    pytest.importorskip("wandb", reason="needs pytest-pbias[wandb]")
    _python(project, 'tell_tracker("wandb", report)', WANDB_MODE="offline", WANDB_DIR=str(project))
    (log,) = project.glob("wandb/offline-run-*/*.wandb")
    content = log.read_bytes()
    for said in (b"pb/safety", b"pbias.verdict.safety", b"run.parquet", b"report.json"):
        assert said in content
    assert b"\x1b[31m" not in content


def test_opentelemetry_in_memory(project: Path) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="needs pytest-pbias[otel]")
    said = _python(
        project,
        """
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
tell_tracker("otel", report)
(of_resource,) = reader.get_metrics_data().resource_metrics
(scope,) = of_resource.scope_metrics
assert scope.scope.name == "pytest-pbias"
found = {}
for metric in scope.metrics:
    for point in metric.data.data_points:
        found[f"{metric.name}/{point.attributes['pbias.scope']}"] = point.value
        assert point.attributes["pbias.verdict.safety"] == "fail"
assert found == {f"pbias.{name}": value for name, value in report.metrics().items()}
print(len(found))
""",
    )
    assert int(said) > 10


class _Collector(BaseHTTPRequestHandler):
    """A collector that takes metrics by OTLP over HTTP."""

    bodies: list[bytes]

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """A collector's address, and the bodies that reach it."""
    bodies: list[bytes] = []
    server = HTTPServer(("127.0.0.1", 0), type("Handler", (_Collector,), {"bodies": bodies}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def test_opentelemetry_over_http(project: Path, collector: tuple[str, list[bytes]]) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs pytest-pbias[otel]")
    address, bodies = collector
    _python(
        project,
        'tell_tracker("otel", report)',
        OTEL_EXPORTER_OTLP_ENDPOINT=address,
        OTEL_EXPORTER_OTLP_COMPRESSION="none",
    )
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    (body,) = bodies
    (of_resource,) = ExportMetricsServiceRequest.FromString(body).resource_metrics
    (scope,) = of_resource.scope_metrics
    assert scope.scope.name == "pytest-pbias"
    given = json.loads((project / "given.json").read_text())
    report = RunReport("0001-tiny", project / "run.parquet", given["document"], tag=HOSTILE)
    found = {}
    for metric in scope.metrics:
        for point in metric.gauge.data_points:
            said = {one.key: one.value.string_value for one in point.attributes}
            found[f"{metric.name}/{said.pop('pbias.scope')}"] = point.as_double
            assert said == report.tags()
    assert found == {f"pbias.{name}": value for name, value in report.metrics().items()}


def test_a_tracker_that_is_not_there_is_one_line_without_secrets(project: Path) -> None:
    pytest.importorskip("mlflow", reason="needs pytest-pbias[mlflow]")
    said = _python(
        project,
        """
try:
    tell_tracker("mlflow", report)
except InfrastructureError as error:
    print(error)
""",
        MLFLOW_TRACKING_URI="http://user:hunter2secret@127.0.0.1:9",
        MLFLOW_TRACKING_TOKEN="s3cret-token-of-mine",
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
    )
    (line,) = said.strip().splitlines()
    assert line.startswith("MLflow was not told of this run, which is kept as 0001-tiny: ")
    assert "hunter2secret" not in line
    assert "s3cret" not in line


def test_unknown_and_missing_trackers() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown tracker 'mlfow': did you mean 'mlflow'"):
        require_trackers(["mlfow"])
    code = (
        "import sys; sys.modules['wandb'] = None\n"
        "from pytest_pbias.reporting.trackers import require_trackers\n"
        "try: require_trackers(['wandb'])\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == (
        "ConfigurationError wandb needs Weights & Biases: pip install 'pytest-pbias[wandb]'"
    )
