"""Adapters are checked before a server is started, and make a model of their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models import resolve_model
from pytest_pbias.models.embedded import locate
from pytest_pbias.models.vllm import VllmSettings
from pytest_pbias.models.vllm.adapter import read_adapter
from pytest_pbias.models.vllm.command import serve_command, without_secrets


def _adapter(folder: Path, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    plain = {"peft_type": "LORA", "r": 4, "use_dora": False, "modules_to_save": None}
    (folder / "adapter_config.json").write_text(json.dumps(plain | config))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


@pytest.mark.parametrize(
    ("config", "rank", "room"),
    [
        ({"r": 4}, 4, 8),
        ({"r": 16}, 16, 16),
        ({"r": 17}, 17, 32),
        ({"r": 8, "rank_pattern": {"layers.0.q_proj": 40}}, 40, 64),
        ({"r": 257}, 257, 320),
        ({"r": 512}, 512, 512),
    ],
)
def test_the_server_makes_room_for_the_largest_rank(
    tmp_path: Path,
    fake_command: str,
    hub_cache: Path,
    cached: Callable[..., str],
    config: dict[str, Any],
    rank: int,
    room: int,
) -> None:
    cached(hub_cache, "org/base")
    folder = _adapter(tmp_path / "tuned", **config)
    adapter = read_adapter(folder)
    assert (adapter.name, adapter.rank, adapter.room) == ("tuned", rank, room)
    settings = VllmSettings(fake_command, lora=folder)
    spec = resolve_model("org/base", vllm=settings)
    line = serve_command(spec, settings, port=1, longest=10)
    assert line[-5:] == [
        "--enable-lora",
        "--lora-modules",
        f"tuned={folder.resolve()}",
        "--max-lora-rank",
        str(room),
    ]
    assert line[line.index("--served-model-name") + 1] == "org/base"


def test_a_training_folder_stands_for_its_adapter(tmp_path: Path) -> None:
    _adapter(tmp_path / "fair-llama" / "adapter")
    adapter = read_adapter(tmp_path / "fair-llama")
    assert adapter.name == "fair-llama"
    assert adapter.folder == (tmp_path / "fair-llama" / "adapter").resolve()


def test_an_adapted_model_has_answers_and_a_name_of_its_own(
    tmp_path: Path, fake_command: str
) -> None:
    model = shutil.copytree(locate(), tmp_path / "base", ignore=shutil.ignore_patterns("runtime"))
    folder = _adapter(tmp_path / "tuned")
    plain = resolve_model(str(model), vllm=VllmSettings(fake_command))
    tuned = resolve_model(str(model), vllm=VllmSettings(fake_command, lora=folder))
    assert tuned.served_name == "tuned"
    assert tuned.base_name == plain.served_name == "base"
    assert tuned.name == f"{model}+tuned"
    assert tuned.served_identity != plain.served_identity
    (folder / "adapter_model.safetensors").write_bytes(b"other weights")
    again = resolve_model(str(model), vllm=VllmSettings(fake_command, lora=folder))
    assert again.served_identity != tuned.served_identity
    same_name = _adapter(tmp_path / "elsewhere" / "base")
    renamed = resolve_model(str(model), vllm=VllmSettings(fake_command, lora=same_name))
    assert renamed.served_name == "base-lora"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": "IA3"}, "type IA3"),
        ({"use_dora": True}, "has DoRA, which vLLM does not serve"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"r": None}, "states no rank"),
        ({"r": 1024}, "rank 1024"),
        ({"rank_pattern": [1]}, "states no rank"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    tmp_path: Path, config: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        read_adapter(_adapter(tmp_path / "tuned", **config))
    assert "\n" not in str(caught.value)


def test_a_folder_without_an_adapter_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"it has no adapter_config\.json"):
        read_adapter(tmp_path)
    _adapter(tmp_path / "tuned")
    (tmp_path / "tuned" / "adapter_model.safetensors").unlink()
    with pytest.raises(ConfigurationError, match=r"has no adapter_model\.safetensors"):
        read_adapter(tmp_path / "tuned")
    (tmp_path / "tuned" / "adapter_config.json").write_text("{")
    with pytest.raises(ConfigurationError, match="not JSON"):
        read_adapter(tmp_path / "tuned")


@pytest.mark.parametrize(
    ("model", "base_url", "said"),
    [
        ("embedded", None, "the embedded engine serves no adapter of yours: give the folder of"),
        ("gpt-4o-mini", None, "the API behind 'gpt-4o-mini' serves no adapter"),
        ("tuned", "http://localhost:1/v1", "load it there and measure it by its name there"),
    ],
)
def test_only_local_weights_take_an_adapter(
    tmp_path: Path,
    fake_command: str,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    base_url: str | None,
    said: str,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    settings = VllmSettings(fake_command, lora=_adapter(tmp_path / "tuned"))
    with pytest.raises(ConfigurationError, match=said):
        resolve_model(model, base_url=base_url, vllm=settings)


def test_keys_among_the_arguments_are_not_recorded() -> None:
    given = ["--dtype", "float32", "--api-key", "one", "two", "--hf-token=three", "--seed", "1"]
    shown = without_secrets(given)
    assert shown == [
        *("--dtype", "float32", "--api-key", "***", "***", "--hf-token=***", "--seed", "1")
    ]
