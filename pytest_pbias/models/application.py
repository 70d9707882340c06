"""An application of the user's in place of a model: a Python callable, found, checked and asked."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import reduce
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any

from pytest_pbias.errors import ConfigurationError, inert, quoted
from pytest_pbias.models.chat import (
    TOO_MANY_TOKENS,
    ChatRequest,
    EndpointError,
    Response,
    is_blank,
)
from pytest_pbias.models.spec import ApplicationFacts, ModelSpec, without_secrets

HANDED = ("identity", "cue", "item")
"""What an application gets beside the conversation if it has a parameter of the name."""

_LARGEST_TEXT = 16 << 20  # characters, as of an endpoint's answer
_MOST = 1e9  # seconds, and dollars, of one call
_LONGEST_VERSION = 100
_END_SECONDS = 1.0  # that calls in flight may take to notice that they are cancelled
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """What an application may return in place of a text; None where it does not know.

    ``reasoning`` is what was thought before the answer, its tokens among those of the completion.
    ``latency`` in seconds is measured where it is not given. ``cost`` is in US dollars.
    """

    text: str
    reasoning: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    latency: float | None = None
    cost: float | None = None


class Application:
    """A callable that is measured, under the name it was given by.

    ``asks`` are the names of :data:`HANDED` that it has parameters for. ``version`` is the user's
    word that answers of this version are the application's: without one, they are of one run only.
    ``spent`` adds up what replies say that they cost, in US dollars; None where none says it.
    """

    def __init__(self, target: Callable[..., object], name: str, version: str | None) -> None:
        self.call = target
        self.name = name
        self.asks = _asked_for(target, name)
        self.version = version
        self.spent: float | None = None

    def __repr__(self) -> str:
        return f"Application({self.name!r})"

    def spec(self, run: str) -> ModelSpec:
        """Who answers, as every target is described; ``run`` tells unversioned runs apart."""
        told = f"@{self.version}" if self.version is not None else f" of run {run}"
        return ModelSpec(
            name=self.name,
            served_name=self.name,
            base_url=None,
            api_key_env=None,
            kind="application",
            served_identity=f"app:{self.name}{told}",
            revision=self.version or "",
        )

    def facts(self, *, stated: bool) -> ApplicationFacts:
        """What reports say of it; ``stated``: the conversations tell who asks."""
        handed = bool(self.asks & {"identity", "cue"})
        return ApplicationFacts(
            self.version or "",
            "stated" if not handed else "both" if stated else "handed",
            tuple(sorted(self.asks)),
        )

    def open(self, timeout: float) -> ApplicationClient:
        """A client that gives each call ``timeout`` seconds."""
        return ApplicationClient(self, timeout)


def find_application(given: object, folder: Path, version: str | None = None) -> Application:
    """The application that a text names, or that a hook returned.

    A text is ``package.module:function`` or ``file.py:function``, the file relative to ``folder``,
    which modules are looked for in as well. ``version`` comes before an attribute of that name.

    Raises:
        ConfigurationError: it cannot be imported or called, or its version is none.
    """
    if isinstance(given, str):
        target, name = _imported(given, folder), given.strip()
    else:
        target = given
        place = getattr(given, "__module__", None) or type(given).__module__
        name = f"{place}:{getattr(given, '__qualname__', None) or type(given).__qualname__}"
    name = inert(name)
    if inspect.isclass(target):
        raise ConfigurationError(
            f"{quoted(name)} is a class: name a function, or an object that can be called",
            setting="app",
        )
    if not callable(target):
        raise ConfigurationError(
            f"{quoted(name)} is not callable but {quoted(type(target).__name__)}", setting="app"
        )
    try:
        own = getattr(target, "version", None) if version is None else version
        return Application(target, name, _checked_version(own, name))
    except ConfigurationError:
        raise
    except Exception as error:  # of a property, say
        raise ConfigurationError(
            f"{quoted(name)} cannot be looked at: {raised(error)}", setting="app"
        ) from None


def _checked_version(version: object, name: str) -> str | None:
    if version is None:
        return None
    good = isinstance(version, str) and version.strip() and version.isprintable()
    if not good or len(str(version)) > _LONGEST_VERSION:
        raise ConfigurationError(
            f"the version of {quoted(name)} is {quoted(version)}: give a line of at most "
            f"{_LONGEST_VERSION} characters, such as a commit",
            setting="app-version",
        )
    return str(version).strip()


# -- finding it ------------------------------------------------------------------------------------


def _imported(text: str, folder: Path) -> object:
    place, _, path = text.strip().rpartition(":")
    if not place or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", path):
        raise ConfigurationError(
            f"{quoted(text)} names no function: give package.module:function or file.py:function",
            setting="app",
        )
    is_file = place.endswith(".py")
    try:
        module = _module_of_file(folder / place) if is_file else _module(place, folder)
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"{quoted(place)} cannot be imported: {raised(error)}", setting="app"
        ) from None
    try:
        return reduce(getattr, path.split("."), module)
    except AttributeError:
        raise ConfigurationError(f"{quoted(place)} has no {quoted(path)}", setting="app") from None
    except Exception as error:
        raise ConfigurationError(
            f"{quoted(path)} of {quoted(place)} cannot be had: {raised(error)}", setting="app"
        ) from None


def _module(name: str, folder: Path) -> ModuleType:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return importlib.import_module(name)


def _module_of_file(path: Path) -> ModuleType:
    """The module in a file, imported once; its neighbours can be imported by it."""
    path = path.expanduser().resolve()
    if not path.is_file():
        raise ConfigurationError(f"there is no file {path}", setting="app")
    name = "pbias_app_" + re.sub(r"\W", "_", str(path.with_suffix("")))
    if name in sys.modules:
        return sys.modules[name]
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "the name ends with .py"
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _asked_for(target: Callable[..., object], name: str) -> frozenset[str]:
    """The names of :data:`HANDED` among a callable's parameters.

    Raises:
        ConfigurationError: it cannot be called with a conversation and these.
    """
    if inspect.isasyncgenfunction(target) or inspect.isgeneratorfunction(target):
        raise ConfigurationError(
            f"{quoted(name)} yields its answer piece by piece: return it whole", setting="app"
        )
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):  # of a function in C that does not tell
        return frozenset()
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = [one for one, parameter in signature.parameters.items() if parameter.kind in by_name]
    asks = [one for one in HANDED if one in named]
    try:
        signature.bind([], **dict.fromkeys(asks))
    except TypeError as error:
        raise ConfigurationError(
            f"{quoted(name)} has the parameters {inert(str(signature))}, and is called with the "
            f"conversation, and with identity, cue and item where it has parameters of these "
            f"names: {error}",
            setting="app",
        ) from None
    return frozenset(asks)


# -- asking it -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Raised:
    """What a call raised: handed on as a value, so that nothing ends the thread it ran in."""

    error: BaseException


class _Daemons(ThreadPoolExecutor):
    """A thread for each call, which nobody waits for: one that hangs keeps no run from its end."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                found = fn(*args, **kwargs)
            except BaseException as error:
                with suppress(InvalidStateError):  # its time was over
                    future.set_exception(error)
            else:
                with suppress(InvalidStateError):
                    future.set_result(found)

        threading.Thread(target=run, name="pbias-app", daemon=True).start()
        return future


class ApplicationClient:
    """Asks an application as an :class:`~pytest_pbias.models.client.Endpoint` asks a model.

    Each call of a function has a thread of its own; coroutines run in one event loop, which is not
    the caller's: an application that blocks it keeps nobody else from what they do.
    """

    def __init__(self, application: Application, timeout: float) -> None:
        self._application = application
        self._timeout = timeout
        self._threads = _Daemons(1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        call = application.call
        self._is_async = any(map(inspect.iscoroutinefunction, (call, type(call).__call__)))

    async def ask(self, request: ChatRequest) -> Response:
        """Call the application once.

        Raises:
            EndpointError: it raised something, took too long, or returned no answer. Only what
                says of itself that it is ``transient`` is worth another try.
        """
        start = monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                outcome = await self._outcome(request)
        except TimeoutError:
            raise EndpointError(
                "timeout", f"{self._application.name} gave no answer within {self._timeout:g} s"
            ) from None
        if isinstance(outcome, _Raised):
            raise self._fault(outcome.error)
        return self._response(request.key, outcome, monotonic() - start)

    async def served_models(self, timeout: float = 10.0) -> list[str] | None:
        """None: an application lists no models."""
        return None

    async def aclose(self) -> None:
        """Cancel what is still awaited, and leave what cannot be cancelled behind."""
        if self._thread is None or self._loop is None or self._ended is None:
            return
        with suppress(RuntimeError):  # the loop has closed
            self._loop.call_soon_threadsafe(self._ended.set)
        await asyncio.to_thread(self._thread.join, _END_SECONDS)

    async def _outcome(self, request: ChatRequest) -> object:
        messages = [dict(message) for message in request.messages]
        handed = {name: getattr(request.handed, name) for name in self._application.asks}

        def call() -> object:
            return self._application.call(messages, **handed)

        def caught() -> object:
            try:
                return call()
            except BaseException as error:
                return _Raised(error)

        if self._is_async:
            return await self._in_loop(call)
        found = await asyncio.wrap_future(self._threads.submit(caught))
        return await self._in_loop(lambda: found) if inspect.isawaitable(found) else found

    async def _in_loop(self, call: Callable[[], object]) -> object:
        async def run() -> object:
            try:
                awaited = call()
                assert inspect.isawaitable(awaited)
                return await awaited
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                return _Raised(error)

        loop = self._loop or self._start_loop()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), loop))

    def _start_loop(self) -> asyncio.AbstractEventLoop:
        started: Future[asyncio.AbstractEventLoop] = Future()

        async def serve() -> None:
            self._ended = asyncio.Event()
            loop = asyncio.get_running_loop()
            loop.set_default_executor(self._threads)  # of asyncio.to_thread
            started.set_result(loop)
            await self._ended.wait()

        self._thread = threading.Thread(
            target=lambda: asyncio.run(serve()), name="pbias-app-loop", daemon=True
        )
        self._thread.start()
        self._loop = started.result()
        return self._loop

    def _fault(self, error: BaseException) -> EndpointError:
        reason = f"{self._application.name} raised {raised(error)}"
        if getattr(error, "transient", False) is not True:
            return EndpointError("refused", reason)
        after = getattr(error, "retry_after", None)
        if not isinstance(after, int | float) or not 0 <= after < math.inf:
            after = None
        return EndpointError("throttled", reason, after)

    def _response(self, key: str, returned: object, seconds: float) -> Response:
        try:
            reply = _reply(returned)
        except ValueError as error:
            raise EndpointError("refused", f"{self._application.name} {error}") from None
        if reply.cost is not None:
            self._application.spent = (self._application.spent or 0.0) + reply.cost
        if is_blank(reply.text):
            raise EndpointError(
                "refused",
                f"{self._application.name} returned no text",
                prompt_tokens=reply.prompt_tokens or 0,
                completion_tokens=reply.completion_tokens or 0,
            )
        return Response(
            key,
            reply.text,
            "stop",
            reply.prompt_tokens,
            reply.completion_tokens,
            seconds if reply.latency is None else float(reply.latency),
            reply.reasoning,
            reply.reasoning_tokens,
        )


def _reply(returned: object) -> Reply:
    """What was returned, as a reply with values of the right types.

    Raises:
        ValueError: it is none; the text says what it is.
    """
    if isinstance(returned, str):
        reply = Reply(returned)
    elif isinstance(returned, Reply):
        reply = returned
    elif isinstance(returned, Mapping):
        known = [field.name for field in fields(Reply)]
        unknown = [name for name in returned if name not in known]
        if unknown or "text" not in returned:
            raise ValueError(
                f"returned a mapping with the fields {quoted(', '.join(map(str, returned)))}: text "
                f"is needed, and there may be {', '.join(known[1:])}"
            )
        reply = Reply(**returned)
    else:
        what = "nothing" if returned is None else f"a {type(returned).__name__}"
        raise ValueError(f"returned {what}: return a text, or a Reply with a text")
    for name in ("text", "reasoning"):
        said = getattr(reply, name)
        if not isinstance(said, str):
            raise ValueError(f"returned a {type(said).__name__} as its {name}: return a text")
        if len(said) > _LARGEST_TEXT:
            raise ValueError(f"returned {len(said):,} characters as its {name}")
    for name in ("prompt_tokens", "completion_tokens", "reasoning_tokens", "latency", "cost"):
        whole, value = name.endswith("tokens"), getattr(reply, name)
        good = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        if value is not None and not (good and 0 <= value < (TOO_MANY_TOKENS if whole else _MOST)):
            what = "whole number" if whole else "number"
            raise ValueError(f"returned {quoted(value)} as its {name}: return a {what} from 0 on")
    return reply


def raised(error: BaseException) -> str:
    """What was raised and in which line, without what the environment keeps secret."""
    name = type(error).__name__
    try:
        said = f"{name}: {error}" if str(error) else name
    except Exception:  # it cannot even be said
        said = name
    secrets = [value for name, value in os.environ.items() if _SECRET.search(name)]
    told = inert(without_secrets(said, secrets))
    place, frame = "", error.__traceback__
    while frame is not None:
        file = frame.tb_frame.f_code.co_filename
        if file != __file__ and not file.startswith("<"):  # as the import system's
            place = f" ({Path(file).name}:{frame.tb_lineno})"
        frame = frame.tb_next
    return told + place
