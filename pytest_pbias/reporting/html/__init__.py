"""One self-contained HTML report."""

from pytest_pbias.reporting.html.content import RunContent
from pytest_pbias.reporting.html.page import to_html

__all__ = ["RunContent", "to_html"]
