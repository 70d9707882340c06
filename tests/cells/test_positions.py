from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.cells.persona_file import KeyPath as Path
from pytest_pbias.cells.persona_file import positions

DOCUMENT = '''# a comment with "quotes" and [brackets]
title = "TOML # not a comment"
"quoted key".sub = 'literal \\ text'
a . b = 1_000 # after
dates = [1979-05-27T07:32:00Z, 07:32:00]

lists = [
    [1, 2], # one
    ["x, y", """multi "quoted" line
second"""],
    { inner = true, deep.er = [ {} ] },
]
triple = \'\'\'
it's 'literal' ] } text\'\'\'
tail = """ends with quotes"""""

[table]
empty = {}
[table.sub."odd.name"]
x = -inf
[[array]]
name = "first"
[array.nested]
k = 1
[[array]]
name = "second"
[[array.inner]]
z = 0
[[array.inner]]
z = 1
'''


def _paths(value: Any, at: Path = ()) -> set[Path]:
    found = {at} if at else set()
    if isinstance(value, dict):
        return found.union(*(_paths(part, (*at, key)) for key, part in value.items()))
    if isinstance(value, list):
        return found.union(*(_paths(part, (*at, n)) for n, part in enumerate(value)))
    return found


def test_every_path_of_the_parser_is_found_and_no_other() -> None:
    assert set(positions(DOCUMENT).values) == _paths(tomllib.loads(DOCUMENT))


@pytest.mark.parametrize(
    ("path", "of_key", "text"),
    [
        (("title",), False, '"TOML'),
        (("title",), True, "title"),
        (("quoted key", "sub"), True, "sub ="),
        (("a", "b"), False, "1_000"),
        (("lists", 0, 1), False, "2], # one"),
        (("lists", 1, 1), False, '"""multi'),
        (("lists", 2, "deep", "er", 0), False, "{} ]"),
        (("triple",), False, "'''"),
        (("array", 1, "name"), False, '"second"'),
        (("array", 1, "inner", 1, "z"), True, "z = 1"),
        (("array", 1, "absent"), True, ""),
    ],
)
def test_line_and_column_are_where_an_editor_jumps(path: Path, of_key: bool, text: str) -> None:
    line, column = positions(DOCUMENT).line_and_column(path, of_key=of_key)
    assert DOCUMENT.splitlines()[line - 1][column - 1 :].startswith(text)


_KEY = st.text("abc-_é .\"'\\\n", min_size=1, max_size=4)
_LEAF = st.integers() | st.booleans() | st.text("ab\"'\\\n#[]{}=,é ", max_size=6)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, list):
        return "[" + "\n , ".join(_toml(part) for part in value) + " # ]\n]"
    return "{ " + ", ".join(f"{_toml(key)} = {_toml(part)}" for key, part in value.items()) + " }"


@given(
    st.dictionaries(
        _KEY,
        st.recursive(
            _LEAF,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEY, inner, max_size=3),
            max_leaves=8,
        ),
        max_size=4,
    )
)
def test_generated_documents(content: dict[str, Any]) -> None:
    text = "".join(f"{_toml(key)} = {_toml(value)}\n" for key, value in content.items())
    assert set(positions(text).values) == _paths(tomllib.loads(text))
