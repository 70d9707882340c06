"""Weights on the hub, a stand-in for it in a process of its own: pinned, and checked beforehand."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.errors import ConfigurationError, InfrastructureError
from pytest_pbias.models import resolve_model
from pytest_pbias.models.process import ServerProcess
from pytest_pbias.models.vllm import VllmServer, VllmSettings
from pytest_pbias.models.vllm.hub import check_obtainable, hub_context, pinned_commit
from pytest_pbias.models.vllm.weights import stated_context

HUB = Path(__file__).parents[2] / "fakes" / "hub_server.py"
COMMIT = "a" * 40
SIZE = 5000


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ServerProcess]]:
    """Starts a hub with three models, and makes it the one that is asked."""
    from huggingface_hub import constants

    root = tmp_path / "repositories"
    for name in ("org/small", "org/terms", "org/closed"):
        folder = root / name
        (folder / "original").mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 777}))
        (folder / "model.safetensors").write_bytes(b"x" * SIZE)
        (folder / "pytorch_model.bin").write_bytes(b"x" * 3 * SIZE)
        (folder / "original" / "model.safetensors").write_bytes(b"x" * 9 * SIZE)
    config = {"gated": ["org/closed"], "terms": ["org/terms"], "commits": {"org/small": COMMIT}}
    command = [sys.executable, str(HUB), str(root), json.dumps(config)]
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.utils._auth._get_token_from_file", lambda: None)
    pinned_commit.cache_clear()
    with ServerProcess(command, log=tmp_path / "hub.log") as process:
        url = process.wait_ready(r"listening on (\S+)", 30)[1]
        monkeypatch.setattr(constants, "ENDPOINT", url)
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield lambda: process
    pinned_commit.cache_clear()


@pytest.mark.usefixtures("hub")
def test_a_hub_id_is_pinned_to_its_commit_and_that_is_served(fake_command: str) -> None:
    spec = resolve_model("org/small", vllm=VllmSettings(fake_command))
    assert spec.revision == COMMIT
    assert COMMIT in spec.served_identity
    same = resolve_model("org/small", vllm=VllmSettings(fake_command, ("--revision", COMMIT)))
    assert same.revision == COMMIT
    keyed = resolve_model("org/small", vllm=VllmSettings(fake_command, ("--api-key", "secret")))
    assert "secret" not in repr(keyed)
    with pytest.raises(ConfigurationError, match="has no revision 'v9'"):
        resolve_model("org/small", vllm=VllmSettings(fake_command, ("--revision=v9",)))


@pytest.mark.usefixtures("hub")
def test_the_context_of_a_hub_id_is_as_long_as_the_plan_needs(
    fake_command: str, tmp_path: Path
) -> None:
    settings = VllmSettings(fake_command)
    spec = resolve_model("org/small", vllm=settings)
    assert hub_context("org/small", COMMIT) == 777
    server = VllmServer(spec, settings, log=tmp_path / "log", longest=300, lost=print)
    line = " ".join(server.command)
    assert "serve org/small --host 127.0.0.1" in line
    assert line.endswith(f"--revision {COMMIT} --max-model-len 300")
    longer = VllmServer(spec, settings, log=tmp_path / "log", longest=900, lost=print)
    assert "--max-model-len" not in longer.command


@pytest.mark.parametrize(
    ("config", "length"),
    [({"text_config": {"max_position_embeddings": 9}}, 9), ({}, None), ([], None),
     ({"max_position_embeddings": "many"}, None)],
)  # fmt: skip
def test_a_context_is_read_where_it_is_stated(config: Any, length: int | None) -> None:
    assert stated_context(config) == length


@pytest.mark.usefixtures("hub")
def test_what_cannot_be_had_is_said_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigurationError, match="'org/nothing' is not on the hub, or private"):
        pinned_commit("org/nothing")
    with pytest.raises(ConfigurationError, match=r"'org/closed' is gated: .* set HF_TOKEN"):
        pinned_commit("org/closed")
    with pytest.raises(ConfigurationError, match="cannot be a hub id: write org/name"):
        pinned_commit("no/such/folder")
    terms = pinned_commit("org/terms")
    with pytest.raises(ConfigurationError, match=r"'org/terms' is gated: .* set HF_TOKEN"):
        check_obtainable("org/terms", terms)
    monkeypatch.setenv("HF_TOKEN", "of somebody else")
    with pytest.raises(ConfigurationError, match="account of your token") as caught:
        check_obtainable("org/terms", terms)
    assert "somebody" not in str(caught.value)
    monkeypatch.setenv("HF_TOKEN", "accepted")
    check_obtainable("org/terms", terms)


@pytest.mark.usefixtures("hub")
def test_weights_that_do_not_fit_the_disk_are_said_before_anything_starts(tmp_path: Path) -> None:
    check_obtainable("org/small", COMMIT, free=SIZE)
    with pytest.raises(ConfigurationError, match="free some space, or set HF_HOME"):
        check_obtainable("org/small", COMMIT, free=SIZE - 1)
    snapshot = tmp_path / "hub" / "models--org--small" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"x" * SIZE)
    check_obtainable("org/small", COMMIT, free=0)  # it is here already


def test_without_the_hub_the_cache_is_enough(
    hub_cache: Path,
    cached: Callable[..., str],
    weights: Callable[[Path], Path],
    tmp_path: Path,
) -> None:
    with pytest.raises(InfrastructureError, match="has no copy: fetch it once") as caught:
        pinned_commit("org/small")
    assert "HF_HUB_OFFLINE forbids" in str(caught.value)
    cached(hub_cache, "org/small", commit=COMMIT)
    assert pinned_commit("org/small") == COMMIT
    assert pinned_commit("org/small", COMMIT) == COMMIT
    with pytest.raises(InfrastructureError, match="lacks its weights"):
        check_obtainable("org/small", COMMIT)
    whole = cached(hub_cache, "org/whole", weights(tmp_path))
    check_obtainable("org/whole", whole)
    assert hub_context("org/whole", whole) == 4096


def test_a_hub_that_does_not_answer_is_one_line(
    hub: Callable[..., ServerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub().stop()
    with pytest.raises(InfrastructureError, match="the hub cannot be asked") as caught:
        pinned_commit("org/small")
    assert "\n" not in str(caught.value)
