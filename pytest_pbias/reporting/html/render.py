"""The templates: what they print is escaped and inert, unless it was drawn or read here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pytest_pbias.reporting.html.samples import inert_json
from pytest_pbias.reporting.tables import (
    Badge,
    Bullets,
    Code,
    Heading,
    Heat,
    Note,
    Samples,
    Table,
    words,
)
from pytest_pbias.reporting.text import plain


@dataclass(frozen=True)
class Drawing:
    """A figure: ``content`` are the elements within ``view``, told in words beside it.

    ``name`` is the same for the same figure, and another for each other.
    """

    name: str
    view: str
    content: Markup
    title: str
    description: str
    caption: str


_KINDS = {
    kind.__name__.lower(): kind
    for kind in (Badge, Bullets, Code, Drawing, Heading, Heat, Note, Samples, Table)
}


def render(name: str, **values: object) -> Markup:
    """A template of the folder ``templates``, filled in."""
    return Markup(_environment().get_template(name).render(**values))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pytest_pbias.reporting.html"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_inert,
        keep_trailing_newline=True,
    )
    for name, kind in _KINDS.items():
        environment.tests[name] = kind.__instancecheck__
    environment.filters |= {"words": words, "strength": _strength, "inert_json": inert_json}
    return environment


def _inert(value: object) -> object:
    """Every printed value: text loses what could be obeyed, before the engine escapes it."""
    return value if isinstance(value, Markup) else plain(str(value))


def _strength(cell: Heat) -> int:
    """How strong the colour of a difference is, 0 to 9."""
    return min(9, round(abs(cell.points) / 3))
