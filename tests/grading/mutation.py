"""Change one operator of a program."""

from __future__ import annotations

import ast
import warnings

import numpy as np

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitXor: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitXor,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Not: ast.UAdd,
    ast.USub: ast.UAdd,
}


def mutate(source: str, rng: np.random.Generator) -> str | None:
    """The program with one operator, drawn by ``rng``, replaced; None where it has none."""
    with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
        warnings.simplefilter("ignore", DeprecationWarning)  # "\\w" in a plain string
        tree = ast.parse(source)
    places: list[tuple[ast.AST, int | None]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            places += [(node, number) for number, op in enumerate(node.ops) if type(op) in _SWAPS]
        elif type(getattr(node, "op", None)) in _SWAPS:
            places.append((node, None))
    if not places:
        return None
    node, number = places[int(rng.integers(len(places)))]
    if number is None:
        node.op = _SWAPS[type(node.op)]()  # type: ignore[attr-defined]  # one of the four above
    else:
        assert isinstance(node, ast.Compare)
        node.ops[number] = _SWAPS[type(node.ops[number])]()  # type: ignore[call-overload]
    return ast.unparse(tree)
