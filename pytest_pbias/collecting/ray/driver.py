"""The process that joins a Ray cluster and runs jobs there, and the handle that a session has.

Ray may end the process that it runs in: it aborts when the head of the cluster is lost, and leaving
a cluster has ended in a segmentation fault. In a process of its own that costs what is under way,
never the session and its report.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any

from pytest_pbias.collecting.ray.node import AskBatch, Target
from pytest_pbias.errors import InfrastructureError

if TYPE_CHECKING:
    import pyarrow as pa

LOCAL = "local"  # an address that starts a cluster of this machine alone, as Ray has it
_MOST_IN_BATCH = 32  # answers that wait for each other before they are durable
_BATCHES_AT_ONCE = 4  # of one node
_CHECK_SECONDS = 60.0
_REACH_SECONDS = 10.0
_LEAVE_SECONDS = 5.0
_MOST_SAID = 200  # characters of what Ray says
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    f"from {__name__} import serve; serve()"
)
_LOGGED = re.compile(r"\[[^\]]* ([A-Z]) \d+ \d+\] *(?:\S+:\d+: *)?")  # how Ray begins a line


class JobError(Exception):
    """Ray gave a job up, or the process ended before it was done; the text says how, in a line."""


class Driver:
    """A driver of the cluster at ``address``, which it joins.

    It leaves the cluster and ends with :meth:`stop`, and when this process has ended in any way.
    Results are read in one thread; :meth:`stop` may be called in any.
    """

    def __init__(self, address: str) -> None:
        """Start it.

        Raises:
            InfrastructureError: no process can be started.
        """
        path = [one for one in sys.path if isinstance(one, str)]  # others import nothing here
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  until close()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, json.dumps(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,  # what stops the session at the keyboard is told by it
            )
        except OSError as error:
            self._errors.close()
            raise InfrastructureError(
                f"cannot start a process for Ray: {error.strerror}", setting="ray"
            ) from error
        self._send(address)

    def count_nodes(self) -> int:
        """Wait until the cluster is joined; returns how many nodes can ask.

        Raises:
            InfrastructureError: it cannot be joined, or one of its nodes cannot ask.
            JobError: the process ended.
        """
        said = self._receive()
        if "cannot" in said:
            raise InfrastructureError(said["cannot"], setting="ray")
        return int(said["nodes"])

    def run(self, target: Target, requests: Sequence[str]) -> Iterator[list[str]]:
        """Have encoded requests asked; yields encoded answers, some at a time, as they arrive.

        Raises:
            JobError: the job failed, or the process ended.
        """
        self._send((target, list(requests)))
        while "answered" in (said := self._receive()):
            yield said["answered"]
        if "failed" in said:
            raise JobError(said["failed"])

    def stop(self) -> None:
        """Leave the cluster, or end at once where that takes long."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Stop it and let go of what is read, by the thread that reads."""
        self.stop()
        self._stdout.close()
        self._errors.close()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _send(self, what: object) -> None:
        # Of one that has ended, and of one that was stopped meanwhile, the answer says so.
        with contextlib.suppress(OSError, ValueError):
            pickle.dump(what, self._stdin)
            self._stdin.flush()

    def _receive(self) -> dict[str, Any]:
        line = self._stdout.readline()
        if not line.endswith(b"\n"):
            raise JobError(self._how_it_ended())
        found: dict[str, Any] = json.loads(line)
        return found

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        if code < 0:
            how = f"its process was ended by {signal.Signals(-code).name}"
            # Where Ray aborts it, its last words stand before the addresses of a stack.
            lines = [one for one in lines if (log := _LOGGED.match(one)) and log[1] == "C"]
        else:
            how = f"its process ended with status {code}"
        return f"{how}: {_LOGGED.sub('', lines[-1], count=1)[:_MOST_SAID]}" if lines else how


# -- in the process ----------------------------------------------------------------------------


def serve() -> None:
    """Join the cluster that the first object on stdin names, then run a job for each further one.

    Each line of stdout is a JSON object of one name. With the end of stdin the process ends.
    """
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # Ray prints
    objects: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_receive_objects, args=(objects,), daemon=True).start()
    # Ray warns of settings of its own; an environment may make warnings errors, which end a job.
    warnings.simplefilter("ignore")

    def say(**what: object) -> None:
        print(json.dumps(what), file=out, flush=True)

    try:
        nodes = _join(objects.get())
    except InfrastructureError as error:
        say(cannot=str(error))
        return
    say(nodes=nodes)
    while True:
        target, requests = objects.get()
        try:
            for answered in _answers(target, requests, nodes):
                say(answered=answered)
        except Exception as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            said = lines[0][:_MOST_SAID] if lines else "no reason given"
            say(failed=f"{type(error).__name__}: {said}")
        else:
            say(done=True)


def _receive_objects(objects: SimpleQueue[Any]) -> None:
    """Pass on what arrives on stdin; with its end, the process ends."""
    # Not sys.stdin, which Python closes when it ends, and aborts where a thread reads it.
    stdin = open(0, "rb", closefd=False)  # noqa: SIM115  as long as the process lives
    try:
        while True:
            objects.put(pickle.load(stdin))
    except (EOFError, pickle.UnpicklingError):  # the other side has ended, maybe in the middle
        status = 0
    except Exception:
        traceback.print_exc()
        status = 1
    if (ray := sys.modules.get("ray")) is not None:
        with contextlib.suppress(Exception):
            ray.shutdown()
    os._exit(status)


def _join(address: str) -> int:
    """Join the cluster, and see that its nodes can ask; returns how many there are.

    Raises:
        InfrastructureError: there is none, or a node cannot ask.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    _check_reachable(address)
    try:
        ray.init(
            # Without an address Ray would join a cluster that it finds here, even a dying one; its
            # own word for a new one is the same as ours.
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if address == LOCAL else None,
        )
    except Exception as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:_MOST_SAID]
        raise InfrastructureError(f"no Ray cluster answers at {address}: {said}") from None
    list_nodes: Callable[[], list[dict[str, Any]]] = ray.nodes  # untyped in Ray
    nodes = [str(node["NodeID"]) for node in list_nodes() if node["Alive"]]
    _check_nodes(nodes)
    return len(nodes)


def _check_reachable(address: str) -> None:
    """See that something listens there; Ray itself takes minutes to give up.

    Raises:
        InfrastructureError: nothing does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return  # Ray finds such a cluster, or says at once that there is none
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_SECONDS).close()
    except (OSError, ValueError) as error:
        raise InfrastructureError(f"no Ray cluster answers at {address}: {error}") from None


def _check_nodes(nodes: Sequence[str]) -> None:
    """See that every node has this version of this package.

    Raises:
        InfrastructureError: one has not, or does not answer.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = _version_here()
    asked = {
        node: ray.remote(_version_here)
        .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
        .remote()
        for node in nodes
    }
    for node, answer in asked.items():
        try:
            found: Any = ray.get(answer, timeout=_CHECK_SECONDS)
        except Exception as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[-1][:_MOST_SAID]
            raise InfrastructureError(
                f"node {node[:12]} cannot ask: {said}; every node needs pytest-pbias {here}"
            ) from None
        if found != here:
            raise InfrastructureError(
                f"node {node[:12]} has pytest-pbias {found}, this is {here}: "
                "install the same version on every node"
            )


def _version_here() -> str:
    """Runs on a node: the version there, after what asking needs has been loaded."""
    return version("pytest-pbias")


def _answers(target: Target, requests: Sequence[str], nodes: int) -> Iterator[list[str]]:
    """One job: answers as the nodes send them, block by block."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = [{"request": one} for one in requests]
    # A node has about twice as many requests as it asks at once. A killed run asks these again, and
    # those whose answers were on their way.
    share = math.ceil(2 * target.concurrency / _BATCHES_AT_ONCE)
    size = min(_MOST_IN_BATCH, share, math.ceil(len(rows) / (nodes * _BATCHES_AT_ONCE)))
    data = ray.data.from_items(rows, override_num_blocks=math.ceil(len(rows) / size))
    results = data.map_batches(
        AskBatch,
        fn_constructor_args=(target,),
        batch_size=None,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(
            size=nodes,
            max_tasks_in_flight_per_actor=_BATCHES_AT_ONCE,
            max_concurrent_calls_per_actor=_BATCHES_AT_ONCE,
            enable_true_multi_threading=True,
        ),
        num_cpus=0,  # it waits for answers, and must find room on what is left of a cluster
    )
    for batch in results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        table: pa.Table = batch
        yield table.column("answered").to_pylist()
