"""From the name a user gives to a model that can be asked."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field

from pytest_pbias.errors import ConfigurationError, near_matches
from pytest_pbias.files.toml_file import Table, Text, fail, parse_toml, read_text, validated
from pytest_pbias.models.spec import (
    DEFAULT_KEY_ENV,
    Header,
    ModelSpec,
    public_address,
    shown_name,
)
from pytest_pbias.models.vllm import VllmSettings, find_vllm, weights_identity
from pytest_pbias.models.vllm.adapter import read_adapter
from pytest_pbias.models.vllm.command import option
from pytest_pbias.models.vllm.hub import pinned_commit
from pytest_pbias.models.vllm.weights import is_path, named_files, weight_files

_ENDPOINT_PATH = re.compile(r"/(?:(?:chat/)?completions|models|responses|embeddings)/*$")
EMBEDDED = "embedded"
EMBEDDED_SERVED_NAME = "pbias-embedded"


@dataclass(frozen=True, slots=True)
class Alias:
    """What an alias stands for: a hub id, or a name served at ``base_url``."""

    served_name: str
    base_url: str | None = None
    api_key_env: str | None = None
    revision: str = ""


def resolve_model(
    name: str,
    *,
    base_url: str | None = None,
    api_key_env: str | None = None,
    aliases_file: Path | None = None,
    vllm: VllmSettings | None = None,
    headers: tuple[Header, ...] = (),
    require_key: bool = True,
    look: bool = True,
) -> ModelSpec:
    """Resolve ``name``: ``embedded``, an alias, or any name served at ``base_url``.

    A folder in the embedded model's form is served by the embedded engine; any other folder or
    hub id by a vLLM server that this package starts as ``vllm`` says. ``base_url`` may name
    several addresses with commas between; the first stands for all in what identifies requests,
    so that adding or dropping others asks nothing again. ``require_key`` looks for the API key
    now, not at the first request: what asks nothing needs none. An alias with ``base_url`` stands
    for what it says, unless the server there lists that very name; ``look``: ask it.

    Raises:
        ConfigurationError: the name is unknown, a required API key is not set, no server is named
            for a model with local weights, the hub has no such model or revision, or the aliases
            file is malformed.
        InfrastructureError: the hub cannot be asked, and its cache has no copy.
    """
    name = name.strip() if isinstance(name, str) else ""
    if not name:
        raise ConfigurationError("no model named: give one, such as llama3", setting="model")
    aliases = load_aliases(aliases_file)
    if base_url is not None:
        _refuse_deterministic(vllm, "a server given by its address")
        _refuse_adapter(
            vllm,
            "a server given by its address",
            "load it there and measure it by its name there",
        )
        served = aliases[name].served_name if name in aliases else name
        if name == EMBEDDED:
            served = EMBEDDED_SERVED_NAME
        spec = _endpoint(name, served, base_url, api_key_env, headers, require_key=require_key)
        if served in (name, EMBEDDED_SERVED_NAME) or not look or not _lists(spec, name):
            return spec
        return _endpoint(name, name, base_url, api_key_env, headers, require_key=require_key)
    alias = aliases.get(name)
    if headers and (alias is None or alias.base_url is None):
        raise ConfigurationError(
            "headers are for an endpoint that is given by its address: the server of a model that "
            "is started here needs none",
            setting="header",
        )
    if name == EMBEDDED or (alias is None and _has_runtime(name)):
        _refuse_adapter(
            vllm,
            "the embedded engine",
            "give the folder of the merged model, which `pbias train` leaves around the adapter",
        )
        return _embedded() if name == EMBEDDED else _embedded(name, Path(name).resolve())
    weights = alias is None and ("/" in name or os.path.isdir(name))
    if weights or (alias is not None and alias.base_url is None):
        served, revision = (name, "") if alias is None else (alias.served_name, alias.revision)
        return _vllm(name, served, revision, vllm or VllmSettings())
    if alias is None:
        raise ConfigurationError(_unknown(name, aliases), setting="model")
    assert alias.base_url is not None
    _refuse_deterministic(vllm, f"the API behind {name!r}")
    _refuse_adapter(vllm, f"the API behind {name!r}", "an adapter is for local weights")
    key_env = api_key_env or alias.api_key_env
    return _endpoint(
        name,
        alias.served_name,
        alias.base_url,
        key_env,
        headers,
        alias.revision,
        require_key=require_key,
    )


def _lists(spec: ModelSpec, name: str) -> bool:
    from pytest_pbias.models.negotiation import lists_name  # the client takes long to load

    return lists_name(spec, name)


def _has_runtime(name: str) -> bool:
    """Whether a folder holds the form that the embedded engine runs, as `pbias train` leaves it."""
    from pytest_pbias.models.embedded import RUNTIME_FOLDER

    # os.path takes any text: longer than a file's name can be, or with a null character.
    return os.path.isfile(Path(name) / RUNTIME_FOLDER / "genai_config.json")


def _embedded(name: str = EMBEDDED, path: Path | None = None) -> ModelSpec:
    import pytest_pbias.models.embedded as embedded

    path = embedded.locate() if path is None else path
    digest = embedded.weights_hash(path)
    return ModelSpec(
        name=name,
        served_name=EMBEDDED_SERVED_NAME,
        base_url=None,
        api_key_env=None,
        kind="embedded",
        served_identity=f"embedded:{digest}",
        revision=digest,
        path=path,
    )


def _vllm(name: str, served: str, revision: str, settings: VllmSettings) -> ModelSpec:
    """A model that a vLLM server of our own will serve; a hub id at the commit it has now."""
    if is_path(served):
        weight_files(Path(served))  # a mistyped path is said before a missing vLLM
    try:
        find_vllm(settings.command)  # a missing vLLM is said now, not after collection
    except ConfigurationError as error:
        if settings.command is not None:
            raise
        raise ConfigurationError(
            f"model {name!r}: {error}, or start `vllm serve {served}` and give its address, "
            "http://localhost:8000/v1",
            setting="base-url",
        ) from None
    arguments = [*settings.identifying, *named_files(settings.identifying)]
    folder = Path(served)
    if os.path.isdir(folder):
        digest = weights_identity(folder, arguments)
        spec = ModelSpec(
            name=name,
            served_name=folder.resolve().name,
            base_url=None,
            api_key_env=None,
            kind="vllm",
            served_identity=f"vllm:{digest}",
            revision=digest,
            path=folder.resolve(),
        )
    else:
        commit = pinned_commit(served, option(settings.arguments, "--revision") or revision or None)
        spec = ModelSpec(
            name=name,
            served_name=served,
            base_url=None,
            api_key_env=None,
            kind="vllm",
            served_identity=f"vllm:{served}@{commit} {' '.join(arguments)}".strip(),
            revision=commit,
            hub=served,
        )
    return spec if settings.lora is None else _adapted(spec, settings.lora)


def _adapted(spec: ModelSpec, lora: Path) -> ModelSpec:
    """The model with an adapter, which has a name of its own beside the weights'."""
    adapter = read_adapter(lora)
    if adapter.name == spec.served_name:
        adapter = replace(adapter, name=f"{adapter.name}-lora")
    return replace(
        spec,
        name=f"{spec.name}+{adapter.name}",
        served_name=adapter.name,
        served_identity=f"{spec.served_identity} lora:{adapter.digest}",
        adapter=adapter,
    )


def _refuse_deterministic(settings: VllmSettings | None, who: str) -> None:
    if settings is not None and settings.deterministic:
        raise ConfigurationError(
            f"{who} is not started here and cannot be told to (vLLM: start it with "
            "VLLM_BATCH_INVARIANT=1); an A/A run says how much its answers move",
            setting="deterministic",
        )


def _refuse_adapter(settings: VllmSettings | None, who: str, instead: str) -> None:
    if settings is not None and settings.lora is not None:
        raise ConfigurationError(f"{who} serves no adapter of yours: {instead}", setting="lora")


def _endpoint(
    name: str,
    served: str,
    base_url: str,
    api_key_env: str | None,
    headers: tuple[Header, ...] = (),
    revision: str = "",
    *,
    require_key: bool,
) -> ModelSpec:
    url, *more = dict.fromkeys(normalize_base_url(one) for one in base_url.split(","))
    spec = ModelSpec(
        name=name,
        served_name=served,
        base_url=url,
        api_key_env=api_key_env,
        kind="endpoint",
        served_identity=f"endpoint:{public_address(url)}#{served}"
        + (f"@{revision}" if revision else ""),
        revision=revision,
        more_urls=tuple(more),
        headers=headers,
    )
    if require_key:
        spec.api_key()
        spec.header_values()
    return spec


def _can_be_asked(url: str, host: str) -> bool:
    """Whether HTTP clients take the address: one that they do not is an error deep within them.

    Raises:
        ValueError: the host is no name in the form that the Internet's names have.
    """
    if ":" not in host:  # as in IPv6
        host.encode("idna").decode("idna")
    return url.isprintable() and not any(one.isspace() for one in host)


def normalize_base_url(base_url: str) -> str:
    """Return an endpoint's address without a trailing slash; ``/v1`` is added to a bare host.

    Raises:
        ConfigurationError: it is not an http(s) address, or carries a user name or password.
    """
    try:
        parts = urlsplit(base_url.strip())
        host, port = parts.hostname, parts.port
        if not _can_be_asked(base_url.strip(), host or ""):
            host = None
    except ValueError:
        host, port = None, None
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        shown = public_address(re.sub(r"(?s)^(\w+://)?.*@", r"\1***@", base_url.strip()))
        raise ConfigurationError(
            f"base URL {shown!r} is not an address: give one such as http://localhost:8000/v1"
        )
    if parts.username or parts.password or parts.fragment:
        raise ConfigurationError(
            f"base URL for {host} carries a user name, password or fragment: leave them "
            f"out, and put the key into the environment variable {DEFAULT_KEY_ENV}"
        )
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    if len(names) != len(set(names)):
        raise ConfigurationError(f"base URL for {host} has a parameter twice in its query")
    if (end := _ENDPOINT_PATH.search(parts.path)) is not None:
        raise ConfigurationError(
            f"base URL for {host} is the address of chats or of a list, not of the API: leave out "
            f"{end[0].rstrip('/')}"
        )
    shown_host = f"[{host}]" if ":" in host else host
    path = parts.path.rstrip("/") or "/v1"
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{shown_host}{f':{port}' if port else ''}{path}{query}"


def _unknown(name: str, aliases: dict[str, Alias]) -> str:
    hint = near_matches(name, [EMBEDDED, *aliases])
    return (
        f"unknown model {shown_name(name)}: {hint} (any name goes with the base URL of a server "
        "of yours that serves it)"
    )


# -- alias files -----------------------------------------------------------------------------------


def load_aliases(extra: Path | None = None) -> dict[str, Alias]:
    """Return the aliases that ship with the package, and a user's file over them.

    Raises:
        ConfigurationError: with file and place, where the user's file is malformed.
    """
    shipped = files("pytest_pbias.models").joinpath("aliases.toml").read_text("utf-8")
    aliases = _parse(shipped, "aliases.toml")
    if extra is not None:
        text = read_text(Path(extra), str(extra))
        aliases |= _parse(text, str(extra))
    return aliases


class _AliasTable(Table):
    """One [models.NAME] table: ``hub`` for vLLM, or what an endpoint serves."""

    hub: Text | None = None
    revision: Text | None = None
    served_name: Text | None = None
    base_url: Text | None = None
    api_key_env: Text | None = None


class AliasDocument(Table):
    """A file of model aliases: one [models.NAME] table for each."""

    models: dict[str, _AliasTable] = Field({})


def _parse(text: str, shown: str) -> dict[str, Alias]:
    document = validated(AliasDocument, parse_toml(text, shown), shown)
    return {name: _alias(name, table, shown) for name, table in document.models.items()}


def _alias(name: str, table: _AliasTable, shown: str) -> Alias:
    path = ("models", name)
    served = table.hub or table.served_name
    if served is None or (table.hub and table.served_name):
        fail(shown, path, "needs one of hub and served_name")
    if table.served_name and table.base_url is None:
        fail(shown, path, "has a served_name but no base_url")
    try:
        base_url = None if table.base_url is None else normalize_base_url(table.base_url)
    except ConfigurationError as error:
        fail(shown, (*path, "base_url"), str(error))
    return Alias(
        served_name=served,
        base_url=base_url,
        api_key_env=table.api_key_env,
        revision=table.revision or "",
    )
