"""What identifies a folder: everything in it but for what the documentation names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.grading.judges.longformer import LongformerJudge
from pytest_pbias.models import contents, resolve_model
from pytest_pbias.models.contents import contents_digest
from pytest_pbias.models.embedded import locate, weights_hash
from pytest_pbias.models.vllm import VllmSettings, weights_identity
from pytest_pbias.models.vllm.adapter import read_adapter
from pytest_pbias.training import job, record

COUNTING = [
    *("merges.txt", "vocab.txt", "vocab.bpe", "tokenizer.model", "spiece.model", "qwen.tiktoken"),
    *(
        "tokenizer.json",
        "tekken.json",
        "generation_config.json",
        "SYSTEM_PROMPT.txt",
        "params.json",
    ),
    *("model.gguf", "consolidated.00.pth", "pytorch.pt", "weights.npz", "model.onnx.data"),
    *(
        "modeling_x.py",
        "README/x.py",
        "code/tokenization_x.py",
        "code/deep/kernel.so",
        "deep/er/est/config.json",
    ),
    *("chat_template.jinja", "additional_chat_templates/tool.jinja", "chat_template.txt"),
    *("a name\nof two lines", "readme.json", "license.py", "noticeboard.txt", "SYSTEM.md"),
    *(
        "images/README.bin",
        "README.json",
        ".hidden",
        ".config/x",
        "png",
        "cache/x",
        "git/x",
        "no ending",
    ),
]
LEFT_OUT = [
    *("README.md", "readme.txt", "LICENSE", "LICENCE.txt", "License.md", "NOTICE", "COPYING"),
    *("USE_POLICY.md", "deep/README.md", "logo.png", "figures/result.JPEG", "x.svg"),
    *(".git/objects/ab/cd", ".gitattributes", ".gitignore", ".DS_Store", "code/__pycache__/x.pyc"),
    *(".cache/huggingface/download/x.metadata", "deep/.cache/x"),
]


def _model(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def _vllm(folder: Path) -> str:
    return weights_identity(_model(folder), [])


def _embedded(folder: Path) -> str:
    _model(folder)
    (folder / "runtime").symlink_to(".") if not (folder / "runtime").exists() else None
    return weights_hash(folder)


def _adapter(folder: Path) -> str:
    _model(folder)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 8}')
    (folder / "adapter_model.safetensors").write_bytes(b"adapter")
    return read_adapter(folder).digest


def _judge(folder: Path) -> str:
    pytest.importorskip("torch", reason="the extra 'judges' is not installed")
    pytest.importorskip("transformers", reason="the extra 'judges' is not installed")
    return LongformerJudge(_model(folder)).version


KINDS: dict[str, Callable[[Path], str]] = {
    "vllm": _vllm,
    "embedded": _embedded,
    "adapter": _adapter,
    "judge": _judge,
}


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.fixture(params=KINDS)
def identity(request: pytest.FixtureRequest) -> Callable[[Path], str]:
    return KINDS[request.param]


@pytest.mark.parametrize("name", COUNTING)
def test_every_file_counts_by_name_and_content(
    tmp_path: Path, identity: Callable[[Path], str], name: str
) -> None:
    plain = identity(tmp_path)
    _write(tmp_path / name, "one")
    one = identity(tmp_path)
    _write(tmp_path / name, "two")
    two = identity(tmp_path)
    (tmp_path / name).rename(tmp_path / f"{name}.other")
    assert len({plain, one, two, identity(tmp_path)}) == 4
    (tmp_path / f"{name}.other").rename(tmp_path / name)
    _write(tmp_path / name, "one")
    assert identity(tmp_path) == one


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_named_does_not_count(
    tmp_path: Path, identity: Callable[[Path], str], name: str
) -> None:
    plain = identity(tmp_path)
    _write(tmp_path / name, "one")
    assert identity(tmp_path) == plain


def test_the_documentation_names_what_does_not_count() -> None:
    page = (Path(__file__).parents[3] / "docs" / "models.md").read_text("utf-8")
    named = page[page.index("## What identifies a folder") :]
    for name in (
        *(*contents.LEFT_OUT_FOLDERS, *contents.LEFT_OUT_FILES, *contents.LEFT_OUT_DOCUMENTS),
        *(*contents.LEFT_OUT_IMAGES, *contents.LEFT_OUT_OF_TRAININGS),
    ):
        assert f"`{name}`" in named or f"`{name}/`" in named


def test_what_a_training_leaves_beside_a_model_does_not_count(tmp_path: Path) -> None:
    assert {record.NOTE, job.CHECKPOINTS} <= contents.LEFT_OUT_OF_TRAININGS
    assert record.NOTE == contents.TRAINING_NOTE
    _write(tmp_path / "checkpoints" / "x.pt", "one")
    elsewhere = _vllm(tmp_path)
    _write(tmp_path / "checkpoints" / "x.pt", "two")
    assert _vllm(tmp_path) != elsewhere  # weights that some other program keeps there
    shutil.rmtree(tmp_path / "checkpoints")
    plain = _vllm(tmp_path)
    for name in ("training.json", "checks.jsonl", "pairs.jsonl", "checkpoints/checkpoint-3/o.pt"):
        _write(tmp_path / name, "{}")
    assert _vllm(tmp_path) == plain
    _write(tmp_path / "code" / "checkpoints" / "x.pt", "one")
    assert _vllm(tmp_path) != plain


def test_where_a_name_ends_and_a_content_begins_counts(tmp_path: Path) -> None:
    found = []
    for number, files in enumerate(({"a": "bc"}, {"ab": "c"}, {"a/b": "c"}, {"a": "", "b": "c"})):
        for name, content in files.items():
            _write(tmp_path / str(number) / name, content)
        found.append(contents_digest(tmp_path / str(number), scheme="x"))
    assert len(set(found)) == len(found)


# -- what older versions stored --------------------------------------------------------------------


def test_another_scheme_is_another_identity(tmp_path: Path) -> None:
    _model(tmp_path)
    found = {contents_digest(tmp_path, scheme=f"folder {number}") for number in range(3)}
    assert len(found) == 3


# What 1a27f90 made of the very folders that the functions above fill, whatever else lay in them.
OLD = {
    "vllm": "68ed6c7c57ea982cb71011c06b18e8dcbacd4a08c1306513d64be38e1a05f493",
    "adapter": "66654ad0e437f3cedeeae3cbff609af3732daa89c28b5715eb6d93325ea9f2b9",
    "judge": "9ec0cdbf409d",
}


@pytest.mark.parametrize("kind", OLD)
def test_nothing_stored_under_the_old_identity_is_used(tmp_path: Path, kind: str) -> None:
    assert OLD[kind] not in KINDS[kind](tmp_path)


# -- links -----------------------------------------------------------------------------------------


def test_a_snapshot_in_the_hubs_cache_has_the_identity_of_a_copy(tmp_path: Path) -> None:
    snapshot, copy = tmp_path / "repo" / "snapshots" / "abc", tmp_path / "copy"
    snapshot.mkdir(parents=True)
    (snapshot / "code").mkdir()
    for number, name in enumerate(
        ("config.json", "model.safetensors", "code/x.py", "spiece.model")
    ):
        _write(tmp_path / "repo" / "blobs" / str(number), f"content {number}")
        up = "../" * (2 + name.count("/"))
        (snapshot / name).symlink_to(f"{up}blobs/{number}")
        _write(copy / name, f"content {number}")
    before = weights_identity(snapshot, [])
    assert before == weights_identity(copy, [])
    _write(tmp_path / "repo" / "blobs" / "3", "other")
    assert weights_identity(snapshot, []) != before


def test_links_that_lead_round_in_circles_end(tmp_path: Path) -> None:
    model = _model(tmp_path / "around" / "model")
    before = _vllm(model)
    (model / "self").symlink_to("self")
    (model / "here").symlink_to(".")
    (model / "above").symlink_to("..")
    (model / "root").symlink_to("/")
    (model / "nowhere").symlink_to("none")
    ring = [model / f"ring{number}" for number in range(12)]
    for folder in ring:
        folder.mkdir()
        for other in ring:  # each leads to each: as many ways as there are orders of twelve
            (folder / other.name).symlink_to(f"../{other.name}")
    _write(tmp_path / "around" / "large", "not read")
    start = time.monotonic()
    first = _vllm(model)
    assert time.monotonic() - start < 60
    assert first != before
    assert _vllm(model) == first
    _write(ring[7] / "x.json", "{}")
    assert _vllm(model) != first


def test_a_folder_elsewhere_counts_through_its_link(tmp_path: Path) -> None:
    model = _model(tmp_path / "model")
    _write(tmp_path / "elsewhere" / "x.py", "one")
    (model / "code").symlink_to("../elsewhere")
    before = _vllm(model)
    _write(tmp_path / "elsewhere" / "x.py", "two")
    assert _vllm(model) != before


def test_deep_folders_and_pipes_end(tmp_path: Path) -> None:
    model = _model(tmp_path / "model")
    os.mkfifo(model / "pipe.json")
    deepest = model.joinpath(*["d"] * 1500)
    here = model
    for _ in range(1500):
        here = here / "d"
        here.mkdir()
    before = _vllm(model)
    (deepest / "x.json").write_text("{}")
    after = _vllm(model)
    subprocess.run(["rm", "-rf", model / "d"], check=True)  # deeper than Python removes
    assert after != before


def test_what_cannot_be_read_is_one_line() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        _see_what_cannot_be_read(_model(Path(folder) / "model"))


def _see_what_cannot_be_read(model: Path) -> None:
    (model / "closed").mkdir()
    (model / "closed.json").write_text("{}")
    code = (
        "import os, sys; from pathlib import Path\n"
        "from pytest_pbias.models.vllm import weights_identity\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "weights_identity(Path(sys.argv[1]), [])"
    )
    for path, mode in ((model / "closed", 0o755), (model / "closed.json", 0o644)):
        path.chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", code, model], capture_output=True, text=True, timeout=60
        )
        path.chmod(mode)
        last = done.stderr.splitlines()[-1]
        assert f"ConfigurationError: {path} cannot be read: Permission denied" in last


# -- arguments, and the embedded model -------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--chat-template", "{}/t.jinja"],
        ["--chat-template={}/t.jinja"],
        ["--tokenizer", "{}"],
        ["--lora-modules", "one={}", "two={}/t.jinja"],
        ['--speculative-config={{"model": "{}", "n": [1, "x"]}}'],
        ['--lora-modules={{"name": "a", "path": "{}"}}'],
    ],
)
def test_files_that_arguments_name_count(
    tmp_path: Path, fake_command: str, arguments: list[str]
) -> None:
    model, named = _model(tmp_path / "model"), tmp_path / "named"
    _write(named / "t.jinja", "one")
    settings = VllmSettings(fake_command, tuple(text.format(named) for text in arguments))

    def identity() -> str:
        return resolve_model(str(model), vllm=settings).served_identity

    before = identity()
    assert identity() == before
    _write(named / "t.jinja", "two")
    assert identity() != before


def test_folders_that_hold_other_things_are_not_read(tmp_path: Path, fake_command: str) -> None:
    model = _model(tmp_path / "model")
    os.mkfifo(tmp_path / "key")
    for arguments in (
        ("--download-dir", str(tmp_path)),
        (f"--download-dir={tmp_path}",),
        ("--allowed-local-media-path", "/"),
        ("--something", "/", ".", "..", "", "x" * 5000),
        ("--api-key", str(tmp_path)),
    ):
        settings = VllmSettings(fake_command, arguments)
        before = resolve_model(str(model), vllm=settings).served_identity
        _write(tmp_path / "new" / str(len(arguments[0])), "x")
        assert resolve_model(str(model), vllm=settings).served_identity == before
        shutil.rmtree(tmp_path / "new")


def test_the_embedded_models_answers_are_still_known() -> None:
    """Its identity covered all of its folder before; nothing has to be asked again."""
    assert weights_hash(locate()) == (
        "0045070aea8a3628bb33f411e15c250d168c87f804f853dd1dc43d9592ed02bf"
    )


def test_a_subfolder_of_the_runtime_form_is_no_traceback(tmp_path: Path) -> None:
    shutil.copytree(locate() / "runtime", tmp_path / "runtime")
    before = weights_hash(tmp_path)
    _write(tmp_path / "runtime" / "more" / "x.bin", "x")
    assert weights_hash(tmp_path) != before
    (tmp_path / "runtime" / "closed").symlink_to(tmp_path / "runtime" / "closed")
    with pytest.raises(ConfigurationError, match="no folder 'runtime'"):
        weights_hash(tmp_path / "runtime")
