"""Training for real on the embedded model: it resumes after SIGKILL, and says what is wrong."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from pytest_pbias.cli import main
from pytest_pbias.errors import ConfigurationError, InfrastructureError
from pytest_pbias.models.embedded import locate
from pytest_pbias.prompts import Message
from pytest_pbias.tasks import Item
from pytest_pbias.training.determinism import deterministic_sums
from pytest_pbias.training.dpo import (
    load_model,
    load_tokenizer,
    one_line_when_out_of_memory,
    require_training_extra,
)
from pytest_pbias.training.heldout import Check
from pytest_pbias.training.job import TrainingJob, prepare_folder
from pytest_pbias.training.lengths import with_short_prompts
from pytest_pbias.training.pairs import PreferencePair
from pytest_pbias.training.processes import Processes
from pytest_pbias.training.quantization import NF4, weights_config, why_not_quantized
from pytest_pbias.training.recipe import RECIPES
from pytest_pbias.training.record import trained_note
from pytest_pbias.training.saving import require_runtime_builder
from tests.training.runs import gsm8k_run

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("trl", reason="the extra 'train' is not installed")


STEPS = 4


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [
        {"question": f"Add 2 to {n}.", "chosen": f"It is {n + 2}.", "rejected": f"It is {n + 3}."}
        for n in range(64)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _arguments(pairs: Path, out: Path, *more: str) -> list[str]:
    return [
        *("train", "embedded", "--pairs", str(pairs), "--out", str(out), "--cpu"),
        *("--steps", str(STEPS), "--save-every", "1", *more),
    ]


def _train(pairs: Path, out: Path, *more: str, cores: int | None = None) -> str:
    """Train in a process of its own; returns what it said."""
    environment = dict(os.environ)
    environment.pop("OMP_NUM_THREADS", None)
    if cores is not None:
        environment["OMP_NUM_THREADS"] = str(cores)
    command = [sys.executable, "-m", "pytest_pbias.cli", *_arguments(pairs, out, *more)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=True, env=environment
    ).stdout


def _losses(out: Path) -> dict[int, float]:
    state = out / "checkpoints" / f"checkpoint-{STEPS}" / "trainer_state.json"
    history = json.loads(state.read_text())["log_history"]
    return {log["step"]: log["loss"] for log in history if "loss" in log}


def _distance(one: Path, other: Path) -> float:
    """How far the weights of two models are from each other (root of the sum of squares)."""
    from safetensors.torch import load_file

    ours, theirs = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert ours.keys() == theirs.keys()
    return (
        float(sum(((ours[name].double() - theirs[name].double()) ** 2).sum() for name in ours))
        ** 0.5
    )


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_losses_and_weights(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    _train(pairs, whole)

    command = [sys.executable, "-m", "pytest_pbias.cli", *_arguments(pairs, killed)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 300
    while not (killed / "checkpoints" / "checkpoint-2" / "trainer_state.json").exists():
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "model.safetensors").exists()

    assert main(_arguments(pairs, killed)) == 2
    refused = capsys.readouterr().err
    assert "holds a training already: resume it or give another folder" in refused

    # The cores that it is offered change nothing: how many are used is the product's decision.
    said = _train(pairs, killed, "--resume", cores=2)
    assert f"step {STEPS}/{STEPS}" in said
    assert f"step 1/{STEPS}" not in said
    assert len(_losses(whole)) == STEPS
    # Bit by bit here; some machine may add in another order. Without its optimizer's state the
    # training goes on to losses that differ in the second digit.
    assert _losses(killed) == pytest.approx(_losses(whole), rel=1e-4)
    assert _distance(killed, whole) < 0.05 * _distance(whole, locate())

    from pytest_pbias.models import resolve_model

    spec = resolve_model(str(whole))
    assert spec.kind == "embedded"
    assert spec.served_identity != resolve_model("embedded").served_identity


@pytest.mark.parametrize("cut", ["", '{"epoch": 1.0, "glo'])
def test_a_checkpoint_that_was_cut_is_not_gone_on_with(tmp_path: Path, cut: str) -> None:
    """Its state is the last file of a checkpoint: a kill may leave it empty or half written."""
    checkpoints = tmp_path / "checkpoints"
    for step, text in ((9, '{"epoch": 0.5}'), (10, cut)):
        (checkpoints / f"checkpoint-{step}").mkdir(parents=True)
        (checkpoints / f"checkpoint-{step}" / "trainer_state.json").write_text(text)
    job = TrainingJob("m", (), RECIPES["plain"], tmp_path, resume=True, cpu=True)
    found, _ = prepare_folder(job, Processes())
    assert found == str(checkpoints / "checkpoint-9")


@pytest.mark.slow
def test_sums_are_ordered_while_training_and_settings_come_back() -> None:
    def settings() -> tuple[int, bool, bool]:
        return (
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )

    before = settings()
    drawn = []
    for _ in range(2):
        with deterministic_sums(threads=1, seed=7):
            assert settings() == (1, True, True)
            drawn.append(torch.rand(3).tolist())
    assert drawn[0] == drawn[1]
    assert settings() == before


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "trl" else find(name)
    )
    with pytest.raises(ConfigurationError, match=r"training needs trl: pip install"):
        require_training_extra()


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["onnx_ir", "tqdm", "onnxruntime", "onnxruntime_genai"])
@pytest.mark.parametrize("folder", ["embedded", "copy"])
def test_what_the_last_step_needs_is_looked_for_before_the_first(
    pairs: Path, tmp_path: Path, missing: str, folder: str
) -> None:
    pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")
    # As if it were not installed, wherever it is imported.
    stands_in = tmp_path / "shadow" / missing / "__init__.py"
    stands_in.parent.mkdir(parents=True)
    stands_in.write_text(f"raise ModuleNotFoundError('No module named {missing}')")
    arguments = _arguments(pairs, tmp_path / "out")
    if folder == "copy":
        shutil.copytree(locate(), tmp_path / "model")
        arguments[1] = str(tmp_path / "model")
    paths = [str(tmp_path / "shadow"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest_pbias.cli", *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("pbias: ")
    assert missing in last
    assert last.endswith("pip install 'pytest-pbias[embedded,train]'")
    assert not (tmp_path / "out").exists()


def test_the_extras_named_have_what_the_last_step_needs() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))[
        "project"
    ]
    extras = project["optional-dependencies"]
    needed = [one for extra in ("embedded", "train") for one in extras[extra]]
    named = {re.split(r"[<>=\[;]", one)[0] for one in needed}
    assert {"onnxruntime-genai", "onnx-ir", "torch", "transformers"} <= named


def test_a_model_without_that_form_needs_no_builder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", None)  # nothing is started
    require_runtime_builder(str(tmp_path))
    require_runtime_builder("org/model")


def test_running_out_of_memory_is_one_line() -> None:
    with (
        pytest.raises(
            InfrastructureError, match=r"^training ran out of memory: take fewer rows"
        ) as caught,
        one_line_when_out_of_memory(),
    ):
        torch.empty(2**62, dtype=torch.uint8)
    assert caught.value.setting == "micro-batch"


def test_another_error_is_not_taken_for_it() -> None:
    with pytest.raises(RuntimeError, match="shape"), one_line_when_out_of_memory():
        torch.ones(2).reshape(3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "no pairs to train on: give --from-run TABLE to mine them, or --pairs FILE"),
        (["--pairs=missing.jsonl"], "there is no such file"),
        (["--from-run=missing.parquet"], "no run 'missing.parquet': there is no such file"),
        (["--pairs=x.jsonl", "--held-out=2"], "--held-out: 2.0 is not between 0 and 1"),
        (["--from-run=RUN", "--variant=no-system"], "--variant is for --pairs"),
        (["--from-run=RUN", "--data-dir=nowhere"], "--data-dir: there is no folder nowhere"),
        (["--from-run=RUN", "--data-dir=."], "pbias: --data-dir: no data for task 'gsm8k'"),
    ],
)
def test_wrong_input_is_one_line(
    options: list[str],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    gsm8k_run((Item("1", "c", "?"),), lambda who, number: ("1", 1.0)).write(tmp_path / "run")
    options = [option.replace("RUN", str(tmp_path / "run")) for option in options]
    assert main(["train", "embedded", f"--out={tmp_path / 'out'}", *options]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_file_that_is_not_there_is_said_before_libraries_are_imported(tmp_path: Path) -> None:
    say = (
        "import sys; from pytest_pbias.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code if {'torch', 'datasets', 'transformers'}.isdisjoint(sys.modules) else 9)"
    )
    for source in ("--pairs=missing.jsonl", "--from-run=missing.parquet"):
        command = [sys.executable, "-c", say, "train", "embedded", f"--out={tmp_path}", source]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        assert "there is no such file" in done.stderr


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--steps=0", "argument --steps: '0' is not a whole number from 1"),
        ("--beta=-1", "argument --beta: '-1' is not a number above 0"),
        ("--learning-rate=nan", "argument --learning-rate: 'nan' is not a number above 0"),
        ("--anchors=-1", "argument --anchors: '-1' is not a number from 0"),
        ("--max-pairs=0", "argument --max-pairs: '0' is not a whole number from 1"),
        ("--seed=4294967296", "is not a whole number from 0 to 4294967295"),
        ("--epochs=1", "argument --epochs: not allowed with argument --steps"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(
    option: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["train", "embedded", "--pairs=x.jsonl", f"--out={tmp_path}", "--steps=1", option])
    assert left.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("embeded", "unknown model 'embeded': did you mean 'embedded'?"),
        ("gpt-4o", "model 'gpt-4o' is behind an API, which gives no weights"),
        ("./nothing", "there is no such folder"),
        ("EMPTY", "is not a model folder: it needs config.json and *.safetensors"),
        ("BROKEN", "cannot be loaded"),
    ],
)
def test_a_model_that_cannot_be_trained_is_said_before_pairs_are_read(
    model: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, files in (("EMPTY", ()), ("BROKEN", ("config.json", "model.safetensors"))):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text("{}")
    named = str(tmp_path / model) if model.isupper() else model
    pairs = tmp_path / "torn.jsonl"
    pairs.write_text("{")
    assert main(["train", named, f"--pairs={pairs}", f"--out={tmp_path / 'out'}"]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("file", "is no folder that can be written to"),
        ("file/below", "is no folder that can be written to"),
        ("trained", "holds a training already: resume it or give another folder"),
        ("trained --resume", "holds another training (model, recipe, seed, max_length differ)"),
        ("torn", "training.json cannot be read (JSONDecodeError): give another folder"),
    ],
)
def test_a_folder_that_cannot_be_used_is_said_before_pairs_are_read(
    out: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for name, note in (("trained", '{"model": "other"}'), ("torn", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "training.json").write_text(note)
    folder, *more = out.split()
    pairs = tmp_path / "torn.jsonl"
    pairs.write_text("{")
    options = ["train", "embedded", f"--pairs={pairs}", f"--out={tmp_path / folder}", *more]
    assert main(options) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_recipe_reads_as_a_line() -> None:
    assert str(RECIPES["small"]) == (
        "rate 0.001, beta 0.1, LoRA r 32 alpha 64, batch 32, epochs 1, losses sigmoid + 4 sft"
    )
    assert "steps 100, losses sigmoid" in str(RECIPES["plain"])
    assert str(RECIPES["paper"]) == (
        "rate 5e-06, beta 0.1, LoRA r 16 alpha 16 dropout 0.05, batch 40, steps 100, losses sigmoid"
    )


@pytest.mark.slow
def test_the_papers_recipe_as_released(pairs: Path, tmp_path: Path) -> None:
    """What reaches the trainer, on a machine without a GPU."""
    from peft import LoraConfig

    assert not torch.cuda.is_available()
    out = tmp_path / "paper"
    variant = ("--pairs", str(pairs), "--variant=three-identities")
    said = _train(pairs, out, "--recipe=paper", "--steps=1", *variant)
    assert "256 pairs; rate 5e-06" in said  # 64, and three copies of each
    reason = why_not_quantized(cpu=True)
    assert ("without 4-bit quantization:" in said) == bool(reason)
    note = json.loads((out / "training.json").read_text())
    assert note["variant"] == "three-identities"
    assert note["quantized"] == (not reason)
    assert note["without_quantization"] == reason
    checkpoint = out / "checkpoints" / "checkpoint-1"
    used = torch.load(checkpoint / "training_args.bin", weights_only=False)
    assert (used.per_device_train_batch_size, used.gradient_accumulation_steps) == (8, 5)
    assert (used.learning_rate, used.beta, used.max_length) == (5e-6, 0.1, 1024)
    assert (used.lr_scheduler_type, used.warmup_steps, used.loss_type) == (
        "cosine",
        50,
        ["sigmoid"],
    )
    adapter = LoraConfig.from_pretrained(str(out / "adapter"))
    assert (adapter.r, adapter.lora_alpha, adapter.lora_dropout) == (16, 16, 0.05)
    (told,) = trained_note(out)
    how = f"without its 4-bit quantization ({reason})" if reason else f"on 4-bit weights {ON_CPU}"
    assert told == f"trained by the paper's recipe {how}"
    assert trained_note(tmp_path) == ()


ON_CPU = "on the CPU, in 32-bit arithmetic and without a paged optimizer"


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None,
    reason="bitsandbytes is not installed: pip install 'bitsandbytes>=0.46'",
)
def test_the_papers_recipe_on_4_bit_weights(pairs: Path, tmp_path: Path) -> None:
    """QLoRA as it runs without a GPU: the weights have 4 bits, and the whole ones are merged."""
    model, _ = load_model(str(locate()), cpu=True, quantized=True)
    packed = [part for part in model.modules() if type(part).__name__ == "Linear4bit"]
    assert len(packed) == 4 * 7  # every linear layer of every block
    assert {part.weight.quant_type for part in packed} == {"nf4"}
    assert all(part.weight.quant_state.nested for part in packed)  # double quantization

    out = tmp_path / "paper"
    said = _train(pairs, out, "--recipe=paper", "--micro-batch=4")
    assert f"on 4-bit weights (NF4) {ON_CPU}" in said
    note = json.loads((out / "training.json").read_text())
    assert note["quantized"] is True
    assert note["without_quantization"] == ""
    assert trained_note(out) == (f"trained by the paper's recipe on 4-bit weights {ON_CPU}",)
    losses = _losses(out)
    assert losses.keys() == {1, 2, 3, 4}
    assert losses[1] == pytest.approx(0.693, abs=0.05)
    # The merged model is the base's own weights with what was learnt, not what 4 bits left.
    assert "quantization_config" not in json.loads((out / "config.json").read_text())
    assert 0 < _distance(out, locate()) < 1e-2
    assert _distance(out, locate()) < _rounding() / 10


def _rounding() -> float:
    """How far 4 bits move the embedded model's weights."""
    from bitsandbytes import functional
    from safetensors.torch import load_file

    total = 0.0
    for name, weights in load_file(locate() / "model.safetensors").items():
        if "_proj" in name:
            whole = weights.float()
            packed, state = functional.quantize_4bit(whole, quant_type="nf4")
            total += float(((functional.dequantize_4bit(packed, state) - whole) ** 2).sum())
    return total**0.5


@pytest.mark.parametrize(
    ("library", "says"),
    [
        ("raise ImportError('no kernel\\nof this machine')", "on this CPU: no kernel"),
        ("functional = None", "on this CPU: 'NoneType' object has no attribute"),
    ],
)
def test_a_bitsandbytes_that_cannot_quantize_is_said(
    library: str, says: str, tmp_path: Path
) -> None:
    """A broken library, in a process of its own: training goes on without it."""
    (tmp_path / "bitsandbytes").mkdir()
    (tmp_path / "bitsandbytes" / "__init__.py").write_text(library + "\n")
    program = (
        "from pytest_pbias.training.quantization import why_not_quantized as why\n"
        "print(why(cpu=True))"
    )
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, timeout=120,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.stdout.startswith(f"bitsandbytes cannot quantize {says}")
    assert done.stdout.count("\n") == 1


def test_the_weights_of_the_papers_recipe_have_4_bits() -> None:
    """As released: the configuration itself."""
    assert NF4 == {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": "float16",
    }
    assert RECIPES["paper"].quantize
    assert weights_config(cpu=False) == NF4
    assert weights_config(cpu=True) == NF4 | {"bnb_4bit_compute_dtype": "float32"}


def test_long_prompts_are_cut_and_whom_they_state_stays() -> None:
    tokenizer = load_tokenizer(str(locate()))
    system: Message = {"role": "system", "content": "You are a helpful assistant. I am a nurse."}
    words = " ".join(f"word{n}" for n in range(400))
    long = PreferencePair((system, {"role": "user", "content": f"{words} Why?"}), "Yes.", "No.")
    short = PreferencePair((system, {"role": "user", "content": "Why?"}), "Yes.", "No.")
    cut, kept = with_short_prompts([long, short], tokenizer, prompt=100, whole=200)
    assert kept is short
    assert cut.messages[0] == system
    assert (cut.chosen, cut.rejected) == ("Yes.", "No.")
    ending = cut.messages[1]["content"]
    assert ending.endswith("Why?")
    assert long.messages[1]["content"].endswith(ending.lstrip("\ufffd"))
    text = tokenizer.apply_chat_template(
        [dict(turn) for turn in cut.messages], tokenize=False, add_generation_prompt=True
    )
    n_tokens = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert 80 < n_tokens <= 100
    # Long, but not with its answers: as it is.
    (same,) = with_short_prompts([long], tokenizer, prompt=100, whole=100_000)
    assert same is long


def test_a_collapsing_model_is_never_the_best_check() -> None:
    before = Check(0, bias=10.0, rate=92.0, baseline=99.0)
    assert Check(50, 5.7, 54.0, 50.0).cost(before) > before.cost(before)
    assert Check(50, 1.0, 98.0, 99.0).cost(before) < before.cost(before)


class _Screen(io.StringIO):
    """A stream that is a terminal, or is none."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def test_how_far_a_training_is_is_one_line_or_one_now_and_then() -> None:
    from pytest_pbias.training.callbacks import StatusLine

    now = 0.0
    said: list[str] = []
    screen, log = _Screen(True), _Screen(False)
    lines = [StatusLine(said.append, stream=one, clock=lambda: now) for one in (screen, log)]
    for second in range(100):
        now = float(second)
        for line in lines:
            line.show(f"step {second}/100, " + "x" * 100)
    assert "\n" not in screen.getvalue()
    assert max(map(len, screen.getvalue().split("\r"))) == 79
    assert [line.split(",")[0] for line in log.getvalue().splitlines()] == [
        "step 30/100", "step 60/100", "step 90/100",
    ]  # fmt: skip
    for line in lines:
        line.say("done")
    assert said == ["done", "done"]
    assert screen.getvalue().endswith("\r" + " " * 79 + "\r")
    assert "done" not in log.getvalue()
    quiet = _Screen(True)
    StatusLine(said.append, silent=True, stream=quiet).show("step 1/2")
    assert quiet.getvalue() == ""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="takes a terminal of its own")
def test_a_terminal_shows_each_step_with_its_loss_and_the_time_left(
    pairs: Path, tmp_path: Path
) -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pytest_pbias.cli", *_arguments(pairs, tmp_path / "out")]
    command[command.index("--save-every") + 1] = "50"  # nothing is logged before the end
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    shown = b""
    while True:
        try:
            found = os.read(ours, 65536)
        except OSError:  # how Linux says that nobody writes any more
            break
        if not found:
            break
        shown += found
    os.close(ours)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    text = shown.decode()
    for step in range(2, STEPS):
        assert re.search(rf"\rstep {step}/{STEPS}, loss [\d.]+, \d+ s left", text), text
    assert text.endswith("\r")
    assert re.search(rf"^step 1/{STEPS}, loss [\d.]+, \d+ s left$", said, re.MULTILINE)
    assert "\r" not in said
