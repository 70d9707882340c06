"""The interpreter that runs tests: names of the candidate's are stand-ins for it.

It evaluates every comparison itself, on plain data. One line asks it to run tests; it answers with
``?`` lines, requests to pass on to the candidate, and one ``!`` line, the verdict.
"""

from __future__ import annotations

import ast
import os
import sys

_MODULES = ("cmath", "collections", "itertools", "math", "operator", "re", "string", "sys")


class NotPlainDataError(Exception):
    """The candidate raised, ended, or answered what no candidate answers."""


def ask(request, kind):
    """Send a request to the candidate and return its answer of the expected kind."""
    os.write(1, b"?")
    write_line(1, request)
    answer = ast.literal_eval(read_line(0))
    if not isinstance(answer, tuple) or len(answer) != 2 or answer[0] != kind:
        raise NotPlainDataError(str(answer)[:100])
    return answer[1]


class StandIn:
    """A function, class or object of the candidate's; it can be called and passed back."""

    def __init__(self, handle):
        """Stand for the candidate's object under ``handle``."""
        self.handle = handle

    def __call__(self, *args, **kwargs):
        """Call it there."""
        coded = [encode(arg, handle_of) for arg in args]
        named = {name: encode(arg, handle_of) for name, arg in kwargs.items()}
        return decode(ask(("call", self.handle, coded, named), "value"), stand_in)


def handle_of(value):
    """The handle of a stand-in; nothing else leaves this process but plain data."""
    if isinstance(value, StandIn):
        return value.handle
    raise NotPlainDataError(type(value).__name__)


def stand_in(tag, content):
    """What stands here for something of the candidate's that is no data."""
    if tag == "m" and content in _MODULES:
        return __import__(content)
    if tag == "o" and isinstance(content, int):
        return StandIn(content)
    raise NotPlainDataError(tag)


def run_test(test):
    """Run one test; an exception means that it does not hold."""
    tree = ast.parse(test)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    space = {"__name__": "tests"}
    # Names of built-ins too: a program may well define a `sum` of its own.
    for name, coded in ask(("names", sorted(used)), "names").items():
        space[name] = decode(coded, stand_in)
    exec(compile(tree, "test", "exec"), space)


def hold(tests):
    """Whether every test holds."""
    try:
        for test in tests:
            run_test(test)
    except BaseException:
        return False
    return True


sys.stderr = open(os.devnull, "w")  # noqa: SIM115 -- for as long as the process lives
while True:
    verdict = hold(ast.literal_eval(read_line(0)))
    os.write(1, b"!passed\n" if verdict else b"!failed\n")
