"""The interpreter that runs tests: the functions under test are stand-ins for the candidate's.

Every other name is the real one: a built-in is the built-in, whatever the candidate defines.

It evaluates every comparison itself, on plain data. One line asks it to run tests; it answers with
``?`` lines, requests to pass on to the candidate, and one ``!`` line, the verdict.
"""

from __future__ import annotations

import ast
import builtins
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


def _calls_a_name(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


def real_names(tests, setup):
    """What the names of the tests mean whoever answers: built-ins, and what the set-up imports.

    A built-in is under test only where the tests call it and use no other name, as ``sum`` in
    ``assert sum(10, 15) == 6``, which is no call of the built-in.
    """
    nodes = [node for test in tests for node in ast.walk(test)]
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    called = {node.func.id for node in nodes if _calls_a_name(node)}
    real = {**vars(builtins)}
    if len(used) == 1 and used == called:
        real.pop(*used, None)
    imports = [node for node in setup.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    before = {"__name__": "tests"}
    exec(compile(ast.Module(imports, []), "setup", "exec"), before)
    return real | {name: value for name, value in before.items() if name[:2] != "__"}


def run_test(tree, real):
    """Run one test; an exception means that it does not hold."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    space = {"__name__": "tests"}
    for name in used & real.keys():
        space[name] = real[name]
    theirs = ask(("names", sorted(used - real.keys())), "names")
    for name in theirs.keys() & (used - real.keys()):
        space[name] = decode(theirs[name], stand_in)
        if name in _MODULES and space[name] is not __import__(name):
            raise NotPlainDataError(name)  # another module, or none, under a module's name
    exec(compile(tree, "test", "exec"), space)


def hold(tests, setup):
    """Whether every test holds."""
    try:
        trees = [ast.parse(test) for test in tests]
        real = real_names(trees, ast.parse(setup))
        for tree in trees:
            run_test(tree, real)
    except BaseException:
        return False
    return True


sys.stderr = open(os.devnull, "w")  # noqa: SIM115 -- for as long as the process lives
while True:
    verdict = hold(*ast.literal_eval(read_line(0)))
    os.write(1, b"!passed\n" if verdict else b"!failed\n")
