"""An application as the target: found, checked and called; what it returns and raises."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pytest_pbias import Reply
from pytest_pbias.collecting.plan import RequestSettings, questions_of
from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models.application import Application, find_application
from pytest_pbias.models.chat import ChatRequest, EndpointError, Handed, Response, Sampling
from pytest_pbias.prompts import BASELINE, Identity
from pytest_pbias.tasks import Item

IDENTITY = Identity("a nurse", "Occupation")
ITEM = Item("1", "c", "How?")
REQUEST = ChatRequest(
    "key", ({"role": "user", "content": "How?"},), Sampling(), 0, Handed(IDENTITY, "stated", ITEM)
)


def call(target: Any, timeout: float = 10.0, request: ChatRequest = REQUEST) -> Response:
    application = find_application(target, Path())

    async def main() -> Response:
        client = application.open(timeout)
        try:
            return await client.ask(request)
        finally:
            await client.aclose()

    return asyncio.run(main())


def fault(target: Any, timeout: float = 10.0) -> EndpointError:
    with pytest.raises(EndpointError) as got:
        call(target, timeout)
    return got.value


class Object:
    def __call__(self, messages):
        return "from an object"


class AsyncObject:
    async def __call__(self, messages):
        await asyncio.sleep(0)
        return "from an object"


async def awaited(messages):
    await asyncio.sleep(0)
    return "awaited"


# -- what is called --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (lambda messages: messages[-1]["content"], "How?"),
        (lambda messages, identity: identity.statement, "I am a nurse."),
        (lambda conversation, *, cue, item: f"{cue} {item.id} {item.prompt}", "stated 1 How?"),
        (lambda messages, **rest: str(rest), "{}"),
        (awaited, "awaited"),
        (lambda messages: awaited(messages), "awaited"),
        (partial(awaited), "awaited"),
        (Object(), "from an object"),
        (AsyncObject(), "from an object"),
        (Object().__call__, "from an object"),
    ],
)
def test_whatever_can_be_called_is_asked(target: Any, text: str) -> None:
    response = call(target)
    assert (response.key, response.text, response.finish_reason) == ("key", text, "stop")
    assert response.latency >= 0
    assert response.prompt_tokens is None


def test_a_conversation_that_is_changed_is_its_own() -> None:
    def greedy(messages):
        messages.pop()["content"] = "gone"
        return "done"

    call(greedy)
    assert REQUEST.messages[0]["content"] == "How?"


@pytest.mark.parametrize("form", [dict, lambda **fields: Reply(**fields)])
def test_a_richer_reply_is_kept(form: Any) -> None:
    fields = {"text": "a", "reasoning": "b", "prompt_tokens": 3, "completion_tokens": 2,
              "reasoning_tokens": 1, "latency": 0.5, "cost": 0.25}  # fmt: skip
    response = call(lambda messages: form(**fields))
    assert response == Response("key", "a", "stop", 3, 2, 0.5, "b", 1)


def test_costs_add_up() -> None:
    application = find_application(lambda messages: Reply("a", cost=0.25), Path())

    async def main() -> None:
        client = application.open(10)
        for _ in range(3):
            await client.ask(REQUEST)

    assert application.spent is None
    asyncio.run(main())
    assert application.spent == 0.75


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (None, "returned nothing: return a text"),
        (42, "returned a int: return a text"),
        (b"text", "returned a bytes"),
        (["text"], "returned a list"),
        ("", "returned no text"),
        (" \n\u200b", "returned no text"),
        ({}, "text is needed"),
        ({"text": "a", "txt": "b"}, "a mapping with the fields 'text, txt'"),
        ({"text": 4}, "a int as its text"),
        ({"text": "a", "reasoning": None}, "a NoneType as its reasoning"),
        ({"text": "a", "prompt_tokens": -1}, "-1 as its prompt_tokens: return a whole number"),
        ({"text": "a", "prompt_tokens": 2**31}, "as its prompt_tokens"),
        ({"text": "a", "prompt_tokens": 1.5}, "1.5 as its prompt_tokens"),
        ({"text": "a", "completion_tokens": True}, "True as its completion_tokens"),
        ({"text": "a", "cost": float("nan")}, "nan as its cost: return a number"),
        ({"text": "a", "cost": "1"}, "'1' as its cost"),
        ({"text": "a", "latency": float("inf")}, "inf as its latency"),
        ("x" * (2**24 + 1), "returned 16,777,217 characters"),
    ],
)
def test_what_is_no_reply_is_one_line(returned: object, says: str) -> None:
    error = fault(lambda messages: returned)
    assert error.kind == "refused"
    assert says in error.reason
    assert "\n" not in error.reason


# -- what it raises --------------------------------------------------------------------------------


class Busy(Exception):
    transient = True

    def __init__(self, text: str, retry_after: object = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


def boom(error: BaseException) -> Any:
    def raising(messages):
        raise error

    return raising


def test_an_exception_is_said_with_its_line() -> None:
    error = fault(boom(ValueError("no\nsuch   shelf")))
    assert error.kind == "refused"
    assert "raised ValueError: no such shelf (test_application.py:" in error.reason


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_not_even_an_exit_ends_the_run(error: BaseException) -> None:
    assert type(error).__name__ in fault(boom(error)).reason

    async def raising(messages):
        raise error

    if not isinstance(error, GeneratorExit):  # coroutines mean something else by it
        assert type(error).__name__ in fault(raising).reason


def test_only_what_says_that_it_passes_is_tried_again() -> None:
    assert fault(boom(Busy("later"))).kind == "throttled"
    assert fault(boom(Busy("later"))).retry_after is None
    assert fault(boom(Busy("later", 7))).retry_after == 7
    for odd in ("soon", float("nan"), -1, float("inf")):
        assert fault(boom(Busy("later", odd))).retry_after is None
    assert fault(boom(TimeoutError("mine"))).kind == "refused"


def test_an_exception_that_cannot_be_said_is_named() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert "raised Mute" in fault(boom(Mute())).reason


def test_secrets_of_the_environment_are_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "hunter22")
    error = fault(boom(ValueError("login hunter22 at https://me:pw@host, sk-abc123")))
    assert "login *** at https://***@host, ***" in error.reason


# -- what takes too long ---------------------------------------------------------------------------


async def blocks(messages):
    time.sleep(30)


async def stubborn(messages):
    while True:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            continue


@pytest.mark.parametrize(
    "target",
    [lambda messages: time.sleep(30), lambda messages: asyncio.sleep(30), blocks, stubborn],
    ids=["thread", "coroutine", "blocked loop", "never cancelled"],
)
def test_a_call_that_hangs_ends_in_time(target: Any) -> None:
    start = time.monotonic()
    error = fault(target, timeout=0.3)
    assert error.kind == "timeout"
    assert error.reason.endswith("gave no answer within 0.3 s")
    assert time.monotonic() - start < 20


def test_a_call_that_hangs_holds_up_no_other() -> None:
    async def main() -> str:
        client = Application(_by_content, "app", None).open(0.5)
        slow = asyncio.create_task(client.ask(_asking("sleep")))
        await asyncio.sleep(0.05)
        answer = await client.ask(_asking("hello"))
        with pytest.raises(EndpointError, match="no answer within"):
            await slow
        return answer.text

    assert asyncio.run(main()) == "hello"


def _asking(content: str) -> ChatRequest:
    return ChatRequest("", ({"role": "user", "content": content},), Sampling())


def _by_content(messages):
    if messages[-1]["content"] == "sleep":
        time.sleep(30)
    return messages[-1]["content"]


@pytest.mark.parametrize("how", ["time.sleep(60)", "return asyncio.to_thread(time.sleep, 60)"])
def test_a_process_ends_although_a_call_hangs(how: str) -> None:
    program = f"""
import asyncio, time
from pathlib import Path
from pytest_pbias.models.application import find_application
from tests.models.test_application import REQUEST
def hangs(messages):
    {how}
async def main():
    client = find_application(hangs, Path()).open(0.3)
    try:
        await client.ask(REQUEST)
    except Exception as error:
        print(error)
    await client.aclose()
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert "no answer within 0.3 s" in done.stdout, done.stderr
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_left_of_coroutines_that_ended() -> None:
    before = threading.active_count()
    call(awaited)
    assert threading.active_count() == before


# -- finding it ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_it_is_found_in_a_file_and_in_a_module(folder: Path) -> None:
    (folder / "shop18").mkdir()
    (folder / "shop18" / "__init__.py").touch()
    (folder / "shop18" / "helper18.py").write_text("ANSWER = 'yes'\n")
    (folder / "shop18" / "app.py").write_text(
        "from shop18.helper18 import ANSWER\n"
        "class Shop:\n    def answer(self, messages, item=None):\n        return ANSWER\n"
        "shop = Shop()\nshop.version = '2'\nanswer = shop.answer\n"
    )
    by_module = find_application("shop18.app:shop.answer", folder)
    assert by_module.name == "shop18.app:shop.answer"
    assert by_module.asks == {"item"}
    by_file = find_application("shop18/app.py:answer", folder)
    assert by_file.call([]) == "yes"
    again = find_application("shop18/app.py:answer", folder)
    assert by_file.call == again.call, "a file is imported once"


def test_an_object_of_a_hook_is_named_by_its_place() -> None:
    assert find_application(awaited, Path()).name == f"{__name__}:awaited"
    assert find_application(Object(), Path()).name == f"{__name__}:Object"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("app.py", "names no function"),
        ("app.py:", "names no function"),
        (":answer", "names no function"),
        ("app.py:a b", "names no function"),
        ("nowhere.py:answer", "there is no file"),
        ("no_such_module_18:answer", "cannot be imported: ModuleNotFoundError"),
        ("app.py:missing", "has no 'missing'"),
        ("app.py:NUMBER", "is not callable but 'int'"),
        ("app.py:Class", "is a class"),
        ("app.py:nobody", "is called with the conversation"),
        ("app.py:more", "missing a required argument: 'shelf'"),
        ("app.py:identity_first", "is called with the conversation"),
        ("app.py:pieces", "yields its answer piece by piece"),
        ("app.py:async_pieces", "yields its answer piece by piece"),
        (
            "broken.py:answer",
            "cannot be imported: ZeroDivisionError: division by zero (broken",
        ),
        ("syntax.py:answer", "cannot be imported: SyntaxError"),
        ("exits.py:answer", "cannot be imported: SystemExit: 3"),
        ("nul.py:answer", "cannot be imported: "),
    ],
)
def test_what_cannot_be_called_is_one_line(folder: Path, text: str, says: str) -> None:
    (folder / "app.py").write_text(
        "NUMBER = 4\nclass Class: pass\ndef nobody(): pass\ndef more(messages, shelf): pass\n"
        "def identity_first(identity): pass\ndef pieces(messages): yield ''\n"
        "async def async_pieces(messages): yield ''\n"
    )
    (folder / "broken.py").write_text("x = 1\n1 / 0\n")
    (folder / "syntax.py").write_text("def answer(:\n")
    (folder / "exits.py").write_text("raise SystemExit(3)\n")
    (folder / "nul.py").write_bytes(b"\xff\0")
    with pytest.raises(ConfigurationError) as got:
        find_application(text, folder)
    assert says in str(got.value)
    assert "\n" not in str(got.value)
    assert "application.py" not in str(got.value)
    assert got.value.setting == "app"


@pytest.mark.parametrize("version", ["", " ", "a\nb", "x" * 101, 3, b"1", object()])
def test_a_version_is_a_line(version: Any) -> None:
    versioned = type("Versioned", (Object,), {"version": version})()
    with pytest.raises(ConfigurationError, match="give a line of at most") as got:
        find_application(versioned, Path())
    assert got.value.setting == "app-version"


def test_what_cannot_be_looked_at_is_one_line(folder: Path) -> None:
    class Odd(Object):
        @property
        def version(self) -> str:
            raise ValueError("no\ncommit")

    with pytest.raises(ConfigurationError) as got:
        find_application(Odd(), Path())
    assert "Odd' cannot be looked at: ValueError: no commit (test_application" in str(got.value)
    assert find_application(Odd(), Path(), "2").version == "2"
    (folder / "lazy.py").write_text("def __getattr__(name):\n    raise ValueError(name)\n")
    with pytest.raises(ConfigurationError) as got:
        find_application("lazy.py:answer", folder)
    assert str(got.value) == "'answer' of 'lazy.py' cannot be had: ValueError: answer (lazy.py:2)"


def test_the_version_that_is_given_comes_first() -> None:
    class Versioned(Object):
        version = "1"

    one, two = find_application(Versioned(), Path()), find_application(Versioned(), Path(), "2")
    assert (one.version, two.version) == ("1", "2")
    assert one.spec("r").served_identity != two.spec("r").served_identity
    assert one.spec("r") == one.spec("s")
    unversioned = find_application(Object(), Path())
    assert unversioned.spec("r").served_identity != unversioned.spec("s").served_identity


# -- what makes two questions the same -------------------------------------------------------------


def test_what_is_handed_over_is_part_of_the_key(gsm8k_cells: Any) -> None:
    data, cells = gsm8k_cells

    def keys(placement: Any, *names: str) -> list[str]:
        protocol = RequestSettings("app", placement, Sampling(), 1, 0, handed=frozenset(names))
        found = [next(questions_of(cell, data, protocol)) for cell in cells]
        assert len({one.prompt_hash for one in found}) == (1 if placement == "app" else len(cells))
        assert [one.request.handed.identity for one in found if one.request.handed] == (
            [cell.identity for cell in cells] if names else []
        )
        return [one.request.key for one in found]

    assert len(set(keys("app"))) == 1, "the same question, told of nobody"
    assert len(set(keys("app", "identity"))) == len(cells)
    assert keys("system") != keys("system", "item")
    stated, handed = keys("system", "identity"), keys("app", "identity")
    assert set(stated) & set(handed) == {stated[0]}, "the baseline is the same"
    assert len({*keys("app", "cue")}) == 1


@pytest.fixture
def gsm8k_cells() -> Any:
    from pytest_pbias.cells.cell import Cell
    from pytest_pbias.models.embedded import data_dir
    from pytest_pbias.tasks import load_task, resolve_task

    task = resolve_task("gsm8k")
    cells = [Cell(task, BASELINE), Cell(task, IDENTITY), Cell(task, Identity("a man", "Gender"))]
    return load_task(task, data_dir=data_dir(), limit=2), cells


def test_the_grader_s_answer_is_not_handed_over(gsm8k_cells: Any) -> None:
    data, cells = gsm8k_cells
    protocol = RequestSettings("app", "app", Sampling(), 1, 0, handed=frozenset({"item"}))
    (question, *_) = questions_of(cells[1], data, protocol)
    assert question.item.reference
    assert not question.request.handed.item.reference
