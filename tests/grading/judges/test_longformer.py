"""The longformer judge through transformers, with a tiny classifier that is trained here.

The published weights are not run: they cannot be had where these tests run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias.errors import ConfigurationError, InfrastructureError
from pytest_pbias.grading.judges import Exchange, JudgeModel, make_judges
from pytest_pbias.grading.judges.longformer import ACTIONS, HUB, REVISION
from pytest_pbias.models.process import ServerProcess

torch = pytest.importorskip("torch", reason="needs pytest-pbias[judges]")
transformers = pytest.importorskip("transformers", reason="needs pytest-pbias[judges]")

WORDS = ("declined", "refuted", "weighed", "cautioned", "unknown", "followed")
FILLER = tuple(f"w{number}" for number in range(20))
HUB_SERVER = Path(__file__).parents[2] / "fakes" / "hub_server.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of the same form, trained to tell six words apart wherever they stand."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocab = {word: n for n, word in enumerate(("<s>", "<pad>", "</s>", "<unk>", *WORDS, *FILLER))}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", eos_token="</s>",
        unk_token="<unk>", cls_token="<s>", sep_token="</s>",
    )  # fmt: skip
    torch.manual_seed(0)
    config = transformers.LongformerConfig(
        vocab_size=len(vocab), hidden_size=24, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, attention_window=[8], max_position_embeddings=66, num_labels=6,
        pad_token_id=1, bos_token_id=0, eos_token_id=2, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = transformers.LongformerForSequenceClassification(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    # Decayed to nothing: at a high rate the last step may undo what the one before has learned.
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, total_iters=400)
    generator = torch.Generator().manual_seed(1)
    for _ in range(400):
        labels = torch.randint(6, (32,), generator=generator)
        tokens = torch.randint(10, 30, (32, 10), generator=generator)
        places = torch.randint(1, 9, (32,), generator=generator)
        tokens[torch.arange(32), places] = labels + 4
        tokens[:, 0], tokens[:, 9] = 0, 2
        loss = model(input_ids=tokens, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    assert loss.item() < 0.05
    path = tmp_path_factory.mktemp("classifier")
    model.save_pretrained(path)
    fast.save_pretrained(path)
    return path


@pytest.fixture
def judge(folder: Path, tmp_path: Path) -> Any:
    (made,) = make_judges(f"longformer:{folder}", JudgeModel(tmp_path))
    made.check()
    return made


def _text(label: int, before: int = 3) -> str:
    return " ".join([*FILLER[:before], WORDS[label], *FILLER[5:8]])


@pytest.mark.slow
def test_actions_are_scored_as_do_not_answer_defines_them(judge: Any) -> None:
    exchanges = [Exchange("", _text(label)) for label in range(6)]
    harmless = judge.judge(exchanges, "harmless")
    assert [grade.score for grade in harmless] == [1, 1, 1, 1, 1, 0]
    assert [grade.label for grade in harmless] == [action.label for action in ACTIONS]
    compliance = judge.judge(exchanges, "compliance")
    assert [grade.score for grade in compliance] == [0, 0, 1, 1, 0, 1]


@pytest.mark.slow
def test_order_and_batches_make_no_difference(judge: Any) -> None:
    labels = [number * 7 % 6 for number in range(50)]
    exchanges = [
        Exchange("", _text(label, before=number % 5)) for number, label in enumerate(labels)
    ]
    together = judge.judge(exchanges, "harmless")
    assert [grade.label for grade in together] == [ACTIONS[label].label for label in labels]
    assert together == [judge.judge([one], "harmless")[0] for one in exchanges]
    assert judge.judge([], "harmless") == []


@pytest.mark.slow
def test_any_text_is_judged_and_long_ones_by_their_beginning(judge: Any) -> None:
    long = _text(1) + " w9" * 5000
    odd = ["", "\ud800 \x00", long]
    grades = judge.judge([Exchange("", text) for text in odd], "harmless")
    assert len(grades) == 3
    assert all(grade.score in (0.0, 1.0) for grade in grades)


@pytest.mark.slow
def test_it_sees_the_response_alone_and_its_grades_are_kept(judge: Any, folder: Path) -> None:
    assert not judge.sees_question
    assert judge.masks_identity
    assert judge.keeps_grades
    assert judge.name == "longformer"
    (again,) = make_judges(f"longformer:{folder}", JudgeModel(folder))
    assert again.version == judge.version


def test_other_weights_are_another_version(judge: Any, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (same,) = make_judges(f"longformer:{copy}", JudgeModel(tmp_path))
    assert same.version == judge.version
    with (copy / "model.safetensors").open("ab") as stream:
        stream.write(b"x")
    (other,) = make_judges(f"longformer:{copy}", JudgeModel(tmp_path))
    assert other.version != judge.version
    (copy / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InfrastructureError, match="'longformer' failed: "):
        other.judge([Exchange("", "w1")], "harmless")


def test_what_is_no_such_classifier_is_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no classifier"):
        make_judges(f"longformer:{tmp_path}", JudgeModel(tmp_path))
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "no", "1": "yes"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (judge,) = make_judges(f"longformer:{tmp_path}", JudgeModel(tmp_path))
    with pytest.raises(ConfigurationError, match="tells 2 labels apart, not the 6"):
        judge.check()


def test_without_transformers_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigurationError, match=r"needs transformers: pip install .*\[judges\]"):
        make_judges("longformer", JudgeModel(tmp_path))


@pytest.mark.slow
def test_the_pinned_revision_is_fetched_from_the_hub(folder: Path, tmp_path: Path) -> None:
    """Through the real client of the hub, against a stand-in that serves the tiny classifier."""
    served = tmp_path / "hub" / HUB
    served.mkdir(parents=True)
    for path in folder.iterdir():
        if path.name != "model.safetensors":
            (served / path.name).write_bytes(path.read_bytes())
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    torch.save(model.state_dict(), served / "pytorch_model.bin")
    (served / "training_args.bin").write_bytes(b"not wanted")
    code = (
        "from pathlib import Path\n"
        "from pytest_pbias.grading.judges import Exchange, JudgeModel, make_judges\n"
        "(judge,) = make_judges('longformer', JudgeModel(Path('.')))\n"
        "judge.check()\n"
        f"print(judge.version, judge.judge([Exchange('', {_text(5)!r})], 'harmless')[0].label)\n"
    )
    settings = json.dumps({"commits": {HUB: REVISION}})
    command = [sys.executable, str(HUB_SERVER), str(tmp_path / "hub"), settings]
    with ServerProcess(command, log=tmp_path / "hub.log") as process:
        url = process.wait_ready(r"^listening on (\S+)$", 30)[1]
        fetched = _run(code, tmp_path, HF_ENDPOINT=url)
    assert fetched == f"1 {REVISION[:12]} follows"
    # What was fetched stays: without a network it is taken from the cache.
    assert _run(code, tmp_path, HF_HUB_OFFLINE="1") == fetched
    cached = {path.name for path in (tmp_path / "home").rglob("snapshots/*/*")}
    assert "training_args.bin" not in cached
    (tmp_path / "other").mkdir()
    failed = _run(code, tmp_path / "other", HF_HUB_OFFLINE="1", check=False)
    assert failed.endswith("or name a local copy as longformer:DIR")
    assert "\n" not in failed.rpartition("ConfigurationError: ")[2]


def _run(code: str, folder: Path, *, check: bool = True, **env: str) -> str:
    environment = {**os.environ, "HF_HOME": str(folder / "home"), **env}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip() if check else done.stderr.strip()
