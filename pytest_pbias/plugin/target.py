"""The target of a session: its server, where one is started, and what is known of asking it."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pytest_pbias.collecting import Store
from pytest_pbias.collecting.plan import RequestSettings, Work
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.grading.thinking import split_thinking
from pytest_pbias.models import ModelSpec
from pytest_pbias.models.chat import Sampling
from pytest_pbias.models.dialect import NO_FIELDS, Dialect, read_dialect, write_dialect
from pytest_pbias.models.process import ServerProcess
from pytest_pbias.models.spec import ServerFacts
from pytest_pbias.models.vllm import VllmServer
from pytest_pbias.outcomes.facts import decode_facts, facts_to_plain
from pytest_pbias.plugin.settings import Settings
from pytest_pbias.prompts import Placement

_EMBEDDED_START_SECONDS = 120.0
_THINKS = "yes"
_THINKING_TOKENS = 4096  # that an answer may have which is thought about first
_TEMPLATE_TOKENS = 256  # that a chat template may add to a conversation


def start_vllm(
    settings: Settings,
    longest_prompt: int,
    lost: Callable[[str], None],
    say: Callable[[str], None],
) -> VllmServer:
    """Start vLLM with room for a prompt of ``longest_prompt`` bytes and its answer.

    ``lost`` is told why, when the server has died for good; ``say`` how starting gets on.

    Raises:
        PbiasError: it cannot be started.
    """
    server = VllmServer(
        settings.model,
        settings.vllm,
        log=settings.store_dir / "logs" / f"vllm-{os.getpid()}.log",
        # At most a token a byte.
        longest=longest_prompt + settings.sampling.max_tokens + _TEMPLATE_TOKENS,
        lost=lost,
    )
    try:
        server.start(say)
    except BaseException:
        server.stop()
        raise
    return server


def start_embedded(spec: ModelSpec, logs: Path) -> tuple[ServerProcess, str]:
    """Start the embedded model's server; it ends with this process, however that ends.

    Raises:
        ConfigurationError: its runtime is not installed.
    """
    if importlib.util.find_spec("onnxruntime_genai") is None:
        raise ConfigurationError(
            "the embedded model needs its runtime: pip install 'pytest-pbias[embedded]'"
        )
    command = [sys.executable, "-m", "pytest_pbias.models.embedded.server"]
    server = ServerProcess(
        [*command, "--model", str(spec.path), "--processes", str(min(os.cpu_count() or 1, 4))],
        log=logs / f"embedded-{os.getpid()}.log",
    )
    server.start()
    address = server.wait_ready(r"^listening on (http://\S+)$", _EMBEDDED_START_SECONDS)
    return server, f"{address.group(1)}/v1"


def remember_server(store: Store, spec: ModelSpec, facts: ServerFacts) -> None:
    """Keep what is known of a server beside its answers.

    Every version of it that answered is in ``versions``.
    """
    known = served_facts(store, spec) or ServerFacts()
    versions = tuple(dict.fromkeys([*known.versions, facts.version or "unknown"]))
    store.put_meta(_server_key(spec), json.dumps(facts_to_plain(replace(facts, versions=versions))))


def served_facts(store: Store, spec: ModelSpec) -> ServerFacts | None:
    """What is known of the server that gave the model's answers, in this session or before.

    Raises:
        DataError: the store holds something else there.
    """
    known = store.get_meta(_server_key(spec))
    return None if known is None else decode_facts(ServerFacts, known, f"store {store.path}")


def planned_protocol(settings: Settings, store: Store) -> RequestSettings:
    """How cells are asked as far as is known before the endpoint is: auto placement is system."""
    spec = settings.model
    known = settings.placement or store.get_meta(_placement_key(spec))
    return RequestSettings(
        served_identity=spec.served_identity,
        placement=as_placement(known),
        sampling=_with_room(settings, store.get_meta(_thinks_key(spec)) == _THINKS),
        repeats=settings.repeats,
        seed=settings.seed,
        dialect=known_dialect(store, spec),
        handed=handed_names(settings),
    )


def handed_names(settings: Settings) -> frozenset[str]:
    """What the target gets beside the conversation: nothing, but where it is an application."""
    return frozenset() if settings.application is None else settings.application.asks


def known_dialect(store: Store, spec: ModelSpec) -> Dialect:
    """What is known of how the model's endpoint takes requests; an application has no fields."""
    if spec.kind == "application":
        return NO_FIELDS
    return read_dialect(store.get_meta(_dialect_key(spec)))


def remember_dialect(store: Store, spec: ModelSpec, dialect: Dialect) -> None:
    """Keep what is learned; one of several endpoints may have learned something else before."""
    store.change_meta(_dialect_key(spec), lambda text: write_dialect(read_dialect(text) | dialect))


def find_out(settings: Settings, store: Store, work: Work, base_url: str | None) -> None:
    """Ask once of an endpoint that nothing is known of, and keep what that shows."""
    from pytest_pbias.models.negotiation import ask_first, get_acquainted

    spec, own, timeout = settings.model, settings.placement, settings.spending.timeout
    if own is None:
        if store.get_meta(_placement_key(spec)) is not None:
            return
        seen = get_acquainted(
            spec, settings.sampling, seed=settings.seed, base_url=base_url, timeout=timeout
        )
        # Stated in the user turn where it takes no system message: there is nothing to be joined.
        store.put_meta(_placement_key(spec), "system" if seen.takes_system else "user")
        dialect = replace(seen.dialect, joins_system=False)
    else:
        if store.get_meta(_dialect_key(spec)) is not None:
            return
        first = work.first_missing(store, planned_protocol(settings, store))
        found = ask_first(spec, first, base_url=base_url, timeout=timeout)
        if found is None:
            return
        seen, dialect = found, found.dialect
    store.put_meta(_dialect_key(spec), write_dialect(dialect))
    if seen.reply is None:
        return
    thinks = seen.reply.thought or bool(split_thinking(seen.reply.text).reasoning)
    store.put_meta(_thinks_key(spec), _THINKS if thinks else "no")
    if own is not None and not settings.spending.batch:
        store.put_many([seen.reply])


def as_placement(known: str | None) -> Placement:
    """A placement that was kept as text; an earlier turn is never a session's.

    An identity that is revealed in one carries that itself: see ``Identity.placed``.
    """
    return "user" if known == "user" else "app" if known == "app" else "system"


def _with_room(settings: Settings, thinks: bool) -> Sampling:
    """The sampling, with a larger limit of its own for models that think first."""
    if not (thinks and settings.room_to_think):
        return settings.sampling
    return replace(settings.sampling, max_tokens=_THINKING_TOKENS)


def _server_key(spec: ModelSpec) -> str:
    return f"server:{spec.served_identity}"


def _placement_key(spec: ModelSpec) -> str:
    return f"placement:{spec.served_identity}"


def _dialect_key(spec: ModelSpec) -> str:
    return f"dialect:{spec.served_identity}"


def _thinks_key(spec: ModelSpec) -> str:
    return f"thinks:{spec.served_identity}"
