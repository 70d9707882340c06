"""One self-contained HTML report."""

from pytest_pbias.reporting.html.figures import defense_svg, history_image, load_matplotlib
from pytest_pbias.reporting.html.page import (
    RunContent,
    comparison_page,
    history_page,
    sections_page,
    to_html,
)

__all__ = [
    "RunContent",
    "comparison_page",
    "defense_svg",
    "history_image",
    "history_page",
    "load_matplotlib",
    "sections_page",
    "to_html",
]
