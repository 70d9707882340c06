"""List and stop the vLLM servers that sessions left running (--pbias-keep-server)."""

from __future__ import annotations

import argparse
import time

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models.vllm.kept import KeptServer, KeptServers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="ACTION", parser_class=argparse.ArgumentParser
    )
    actions.add_parser("ls", help="the servers that run")
    stop = actions.add_parser("stop", help="end one server, or all of them")
    stop.add_argument("which", nargs="?", metavar="PORT|NAME", help="without it: every server")


def run(options: argparse.Namespace) -> int:
    """List or stop.

    Raises:
        ConfigurationError: no kept server has the port or name.
    """
    servers = KeptServers()
    running = servers.all()
    if options.action == "ls":
        for server in running:
            print(_line(server))
        if not running:
            print("no kept server runs")
        return 0
    chosen = _choose(running, options.which)
    for server in chosen:
        server.stop()
        servers.drop(server)
        print(f"stopped {server.name} (process {server.pid}, port {server.port})")
    if not chosen:
        print("no kept server runs")
    return 0


def _choose(running: list[KeptServer], which: str | None) -> list[KeptServer]:
    if which is None:
        return running
    found = [one for one in running if which in (str(one.port), one.name, one.served_name)]
    if not found:
        raise ConfigurationError(
            f"no kept server has the port or name {which!r}: see pbias server ls"
        )
    return found


def _line(server: KeptServer) -> str:
    state = "ready" if server.healthy() else "starting" if not server.ready else "does not answer"
    version = f", vLLM {server.facts['version']}" if server.facts.get("version") else ""
    minutes = (time.time() - server.created) / 60
    return (
        f"{server.name}: {state} at {server.address}/v1{version}, process {server.pid}, "
        f"{minutes:,.0f} min old, log {server.log}"
    )
