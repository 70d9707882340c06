from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.errors import ConfigurationError, PbiasError
from pytest_pbias.models.aliases import load_aliases, normalize_base_url, resolve_model


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_an_api_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-value")
    spec = resolve_model("gpt-4o-mini")
    assert (spec.kind, spec.served_name, spec.base_url) == (
        "endpoint", "gpt-4o-mini", "https://api.openai.com/v1",
    )  # fmt: skip
    assert spec.api_key() == "sk-secret-value"
    assert "sk-secret" not in repr(spec)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_is_one_line(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is not None:
        monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(ConfigurationError, match="set the environment variable OPENAI_API_KEY"):
        resolve_model("gpt-4o")


@pytest.mark.parametrize(
    "name", ["llama3", "llama3.1", "mistral", "mixtral", "zephyr", "gemma", "qwen", "acme/own"]
)
def test_local_weights_need_a_server(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"start `vllm serve \S+/\S+` and give"):
        resolve_model(name)
    spec = resolve_model(name, base_url="http://localhost:8000/v1/")
    assert spec.kind == "endpoint"
    assert "/" in spec.served_name
    assert spec.api_key() == "EMPTY"
    assert spec.served_identity == f"endpoint:http://localhost:8000/v1#{spec.served_name}"


@pytest.mark.parametrize("name", ["./nosuchdir", "a/b/c", "~/nosuchdir"])
def test_a_path_without_a_folder_is_said_before_a_missing_vllm(name: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no such folder"):
        resolve_model(name)


def test_a_folder_without_weights_is_said_before_a_missing_vllm(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"needs config\.json and \*\.safetensors"):
        resolve_model(str(tmp_path))


def test_near_matches() -> None:
    with pytest.raises(ConfigurationError, match="unknown model 'lama3': did you mean 'llama3'"):
        resolve_model("lama3")
    with pytest.raises(ConfigurationError, match="'embedded'"):
        resolve_model("embeded")


@pytest.mark.parametrize("key", ["sk-proj-0123456789", "gsk0123456789abcdefghij"])
def test_a_key_in_place_of_a_name_is_not_repeated(key: str) -> None:
    with pytest.raises(ConfigurationError, match="unknown model") as caught:
        resolve_model(key)
    assert key not in str(caught.value)


def test_no_name() -> None:
    with pytest.raises(ConfigurationError, match="no model named"):
        resolve_model(" ")


def test_any_name_goes_with_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_model("what ever", base_url="http://h:1").served_name == "what ever"
    monkeypatch.setenv("THEIR_KEY", "k")
    assert resolve_model("m", base_url="http://h:1", api_key_env="THEIR_KEY").api_key() == "k"
    with pytest.raises(ConfigurationError, match="OTHER_KEY"):
        resolve_model("m", base_url="http://h:1", api_key_env="OTHER_KEY")


def test_a_key_is_stripped_whichever_variable_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-usual\n")
    monkeypatch.setenv("THEIR_KEY", "sk-theirs\r\n")
    assert resolve_model("m", base_url="http://h:1").api_key() == "sk-usual"
    theirs = resolve_model("m", base_url="http://h:1", api_key_env="THEIR_KEY")
    assert theirs.api_key() == "sk-theirs"
    monkeypatch.setenv("OPENAI_API_KEY", " ")
    assert resolve_model("m", base_url="http://h:1").api_key() == "EMPTY"


@pytest.mark.parametrize("key", ["sk-our\u2019s", "sk-first\nsk-second", "sk\x00", "sk-\udc80"])
@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "THEIR_KEY"])
def test_a_key_that_cannot_be_sent_is_named_by_its_variable(
    key: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {variable: key})  # a real one takes no NUL
    named = None if variable == "OPENAI_API_KEY" else variable
    with pytest.raises(ConfigurationError, match=f"variable {variable}") as got:
        resolve_model("m", base_url="http://h:1", api_key_env=named).api_key()
    assert "sk" not in str(got.value)


@pytest.mark.parametrize(
    ("given_url", "url"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        (" https://Example.org/api/v3/ ", "https://example.org/api/v3"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
        ("http://exa_mple.org:80/a b/v1", "http://exa_mple.org:80/a b/v1"),
        ("http://xn--mnchen-3ya.de", "http://xn--mnchen-3ya.de/v1"),
    ],
)
def test_base_urls(given_url: str, url: str) -> None:
    assert normalize_base_url(given_url) == url


@pytest.mark.parametrize(
    "bad", ["localhost:8000", "ftp://x/v1", "http://", "", "http://x:99999/v1", "http://[::1",
     "http://h\x01ost/v1", "http://h/v1\x7f", "http://h/\u202e/v1", "http://ho st/v1", "http://xn--/v1",
     "http://xn--zz--/v1", f"http://{'a' * 70}.org/v1", "http://a..org/v1"]
)  # fmt: skip
def test_what_is_not_an_address(bad: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an address"):
        normalize_base_url(bad)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    for url in (
        "https://me:hunter2@host/v1",
        "ftp://me:hunter2@host/v1",
        "ftp://me:hun/hunter2@host/v1",
        "https://me:hun/hunter2@host/v1",
        "me:hunter2@host:8000/v1",
        "https://h/v1?key=hunter2#top",
        "htp://h/v1?key=hunter2",
        "https://h/v1?key=hunter2&key=hunter2",
        "https://h/v1/models?key=hunter2",
    ):
        with pytest.raises(ConfigurationError) as got:
            normalize_base_url(url)
        assert "hunter2" not in str(got.value)


@given(st.text())
def test_any_text_gives_a_spec_or_one_line(name: str) -> None:
    message = ""
    try:
        resolve_model(name, base_url="http://localhost:1/v1")
        normalize_base_url(name)
    except ConfigurationError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("llama2-13b", "meta-llama/Llama-2-13b-chat-hf"),
        ("openhermes-2.5", "teknium/OpenHermes-2.5-Mistral-7B"),
        ("gpt-3.5-turbo-0125", "gpt-3.5-turbo-0125"),
    ],
)
def test_the_models_of_the_paper_have_their_alias(name: str, served: str) -> None:
    assert load_aliases(None)[name].served_name == served


def test_aliases_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "models.toml"
    file.write_text(
        '[models.ours]\nserved_name = "our-7b"\nbase_url = "https://llm.example.org"\n'
        'api_key_env = "OUR_KEY"\n[models.llama3]\nhub = "ours/llama3-tuned"\nrevision = "abc"\n'
    )
    monkeypatch.setenv("OUR_KEY", "secret")
    spec = resolve_model("ours", aliases_file=file)
    assert (spec.served_name, spec.base_url) == ("our-7b", "https://llm.example.org/v1")
    assert load_aliases(file)["llama3"].served_name == "ours/llama3-tuned"
    assert "mistral" in load_aliases(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[models.x]\nhub = \n", ":2:7: is not TOML"),
        (
            '[models.x]\nhub = "a"\n\n[models.y]\nhubb = "b"\n',
            ": models.y.hubb: unknown key: did you mean 'hub'",
        ),
        ("# hub\n[models.x]\nhub = 3\n", ": models.x.hub: must be a text, not 3"),
        ('[models.x]\nrevision = "a"\n', ": models.x: needs one of hub and served_name"),
        ('[models.x]\nserved_name = "a"\n', "has a served_name but no base_url"),
        (
            '[models.x]\nserved_name = "a"\nbase_url = "h:1"\n',
            ": models.x.base_url: .*'h:1' is not an address",
        ),
        ("[model.x]\n", ": model: unknown key: did you mean 'models'"),
        ("models = 3\n", ": models: must be a table"),
        ("[models]\nx = 3\n", ": models.x: must be a table"),
        ('[models.x]\nhub = "a', ":2:9: is not TOML"),
    ],
)
def test_malformed_alias_files_are_located(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "models.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message) as got:
        load_aliases(file)
    assert str(got.value).startswith(str(file))
    assert len(str(got.value).splitlines()) == 1


def test_alias_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load_aliases(tmp_path / "none.toml")
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load_aliases(tmp_path / "latin")


@pytest.mark.parametrize("name", ["a" * 300, "a" * 5000, "x/" + "a" * 300, "a\0b"])
def test_a_name_that_no_file_can_have_is_one_line(name: str) -> None:
    with pytest.raises(PbiasError) as caught:
        resolve_model(name, require_key=False)
    assert "\n" not in str(caught.value)
    spec = resolve_model(name, base_url="http://localhost:8000/v1", require_key=False)
    assert spec.served_name == name
