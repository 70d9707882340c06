"""Plain data between the two sandboxed interpreters, as nested tuples of literals.

Whatever a candidate returns arrives as plain data or as an opaque handle: no object of its own,
and so no ``__eq__`` of its own, ever takes part in a comparison.
"""

from __future__ import annotations

_MOST_ITERATED = 100_000
_KINDS = (bool, bytes, complex, dict, float, frozenset, int, list, object, set, str, tuple)
_TYPES = {kind.__name__: kind for kind in _KINDS}
_DATE, _TIME = ("year", "month", "day"), ("hour", "minute", "second", "microsecond")
_TIMES = {
    "datetime": _DATE + _TIME,
    "date": _DATE,
    "time": _TIME,
    "timedelta": ("days", "seconds", "microseconds"),
}


def encode(value, keep):
    """Encode plain data by its type; ``keep(value)`` returns the handle of anything else."""
    for kind, tag in ((list, "l"), (tuple, "t"), (set, "e"), (frozenset, "z")):
        if isinstance(value, kind):
            return (tag, [encode(part, keep) for part in kind.__iter__(value)])
    if isinstance(value, dict):
        pairs = [(key, dict.__getitem__(value, key)) for key in dict.__iter__(value)]
        return ("d", [(encode(key, keep), encode(held, keep)) for key, held in pairs])
    return _encode_atom(value) or _encode_rest(value, keep)


def _encode_atom(value):
    if value is None or isinstance(value, (bool, complex)):
        return ("v", value if value is None or isinstance(value, bool) else complex(value))
    if isinstance(value, int):
        return ("i", hex(int(value)))
    if isinstance(value, float):
        return ("f", float.hex(value))
    if isinstance(value, str):
        return ("s", str.__str__(value))
    if isinstance(value, (bytes, bytearray)):
        return ("y", bytes(value))
    return None


def _encode_rest(value, keep):
    if isinstance(value, range):
        return ("r", value.start, value.stop, value.step)
    if isinstance(value, type) and _TYPES.get(value.__name__) is value:
        return ("k", value.__name__)
    if type(value).__name__ == "module":
        return ("m", value.__name__)
    if hasattr(type(value), "__next__"):
        items = []
        for item in value:
            items.append(encode(item, keep))
            if len(items) > _MOST_ITERATED:
                break
        return ("g", items)
    if type(value).__name__ in ("dict_keys", "dict_items"):  # sets that have an order
        return ("j", type(value).__name__, [encode(part, keep) for part in value])
    if type(value).__name__ == "dict_values":
        return encode(list(value), keep)
    return _encode_standard(value, keep) or ("o", keep(value))


def _encode_standard(value, keep):
    """Encode a value of a standard type by what makes it anew; None where it is of none."""
    for kind in type(value).__mro__:
        place = (getattr(kind, "__module__", None), kind.__name__)
        if place in (("fractions", "Fraction"), ("_pydecimal", "Decimal"), ("decimal", "Decimal")):
            return ("n", kind.__name__, str(value))
        if place == ("collections", "deque"):
            return ("q", [encode(part, keep) for part in value], value.maxlen)
        if place[0] == "datetime" and place[1] in _TIMES and getattr(value, "tzinfo", None) is None:
            return ("w", place[1], [getattr(value, part) for part in _TIMES[place[1]]])
        if place == ("array", "array"):
            return encode(value.tolist(), keep)
        if place == ("builtins", "memoryview"):
            return ("y", value.tobytes())
        if place in (("builtins", "mappingproxy"), ("collections", "UserDict")):
            return encode(dict(value), keep)
        if place == ("collections", "UserList"):
            return encode(list(value), keep)
        if place == ("collections", "UserString"):
            return encode(str(value), keep)
        if kind.__name__ == "Enum" and place[0] == "enum":
            return None
    return None


def _decode_standard(tag, rest):
    """Make a number or a time of :func:`_encode_standard` anew; only plain parts are taken."""
    name, parts = rest
    if tag == "n" and name in ("Fraction", "Decimal") and isinstance(parts, str):
        module = __import__("fractions" if name == "Fraction" else "decimal")
        return getattr(module, name)(parts)
    if tag == "w" and name in _TIMES and all(isinstance(part, int) for part in parts):
        return getattr(__import__("datetime"), name)(*parts)
    raise ValueError(tag)


def decode(coded, opened):
    """Decode what :func:`encode` made; ``opened(handle)`` stands for anything that is no data."""
    tag, rest = coded[0], coded[1:]
    if tag in ("v", "s", "y"):
        return rest[0]
    if tag == "i":
        return int(rest[0], 16)
    if tag == "f":
        return float.fromhex(rest[0])
    if tag == "k":
        return _TYPES[rest[0]]
    if tag == "r":
        return range(*rest)
    if tag in ("n", "w"):
        return _decode_standard(tag, rest)
    if tag == "j":
        parts = [decode(part, opened) for part in rest[1]]
        return dict.fromkeys(parts).keys() if rest[0] == "dict_keys" else dict(parts).items()
    if tag == "q":
        return __import__("collections").deque([decode(part, opened) for part in rest[0]], rest[1])
    if tag == "d":
        return {decode(key, opened): decode(value, opened) for key, value in rest[0]}
    if tag in ("l", "t", "e", "z", "g"):
        kind = {"l": list, "t": tuple, "e": set, "z": frozenset, "g": iter}[tag]
        return kind([decode(part, opened) for part in rest[0]])
    return opened(*coded)
