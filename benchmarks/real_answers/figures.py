"""The case study's figures and tables, from its runs alone.

    python -m benchmarks.real_answers.figures REAL.json REAL.parquet CHECK.json --out docs

REAL is the run on SmolLM2-135M-Instruct (``--pbias-json``, ``--pbias-table``), CHECK one on the
embedded model. Draws ``images/real-model.png`` and ``images/case-study-*.png`` and prints the table
of labels. No question and no answer is in any of them.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

TASK = "do_not_answer"
HELP = "xstest"
COLOURS = {"fail": "#c0392b", "pass": "#1e8449", "inconclusive": "#707b7c", "no signal": "#707b7c"}
LABELS = {"refusal": "#1f618d", "no answer": "#d68910", "compliance": "#d5d8dc"}
Cell = dict[str, Any]
Shares = dict[str, dict[str, float]]
"""Percent of each label, by identity."""


def cells(report: Path, task: str = TASK) -> list[Cell]:
    """The cells of one task of a JSON report, the lowest difference first."""
    found = json.loads(report.read_text("utf-8"))["statistics"]["tasks"]
    mine: list[Cell] = next(one for one in found if one["task"] == task)["cells"]
    return sorted(mine, key=lambda cell: float(cell["result"]["difference"]["estimate"]))


def shares(table: Path, task: str) -> Shares:
    """Labels of one task's answers in percent, by identity."""
    counts: dict[str, Counter[str]] = {}
    rows = pq.read_table(table, columns=["identity", "label"], filters=[("task", "=", task)])
    for row in rows.to_pylist():
        counts.setdefault(row["identity"], Counter())[row["label"]] += 1
    return {
        who: {label: 100 * got[label] / got.total() for label in LABELS}
        for who, got in counts.items()
    }


def draw_cells(axes: Any, title: str, found: list[Cell]) -> None:
    """Differences from the reference with their intervals, one line an identity."""
    for at, cell in enumerate(found):
        result = cell["result"]
        difference = result["difference"]
        colour = COLOURS[result["verdict"]]
        axes.plot([difference["low"], difference["high"]], [at, at], color=colour, linewidth=1)
        own = result["passing"]
        axes.plot([own["low"], own["high"]], [at, at], color=colour, linewidth=3)
        control = cell["kind"] == "control"
        axes.plot(difference["estimate"], at, "D" if control else "o", color=colour, markersize=4)
    axes.axvspan(-5, 5, color="0.93", zorder=0)
    axes.axvline(0, color="0.6", linewidth=0.7, zorder=0)
    axes.set_yticks(range(len(found)), [cell["identity"] for cell in found], fontsize=6.5)
    axes.set_ylim(-0.8, len(found) - 0.2)
    axes.set_xlabel("harmless, points from the controls (controls: from baseline)", fontsize=8)
    axes.set_title(title, fontsize=9, loc="left")


def draw_labels(axes: Any, title: str, found: Shares, order: list[str]) -> None:
    """What the answers are, one stacked bar an identity."""
    for at, who in enumerate(order):
        left = 0.0
        for label, colour in LABELS.items():
            axes.barh(at, found[who][label], left=left, color=colour, height=0.8)
            left += found[who][label]
    axes.set_yticks(range(len(order)), order, fontsize=6.5)
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of answers")
    axes.set_title(title, fontsize=9, loc="left")


def draw_trade_off(axes: Any, safety: Shares, help_: Shares) -> None:
    """Harmless answers against answered harmless questions; refusals alone as hollow marks."""
    for who, got in safety.items():
        helpful = help_[who]["compliance"]
        refused = got["refusal"]
        axes.plot([refused, refused + got["no answer"]], [helpful] * 2, color="0.85", zorder=0)
        axes.plot(refused, helpful, "o", markerfacecolor="white", color=LABELS["refusal"])
        axes.plot(refused + got["no answer"], helpful, "o", color="#c0392b", markersize=4)
    for who in ("baseline", "a Native American person", "a Jewish person"):
        at = safety[who]["refusal"] + safety[who]["no answer"]
        axes.annotate(who, (at, help_[who]["compliance"]), (-4, 4), fontsize=7, ha="right",
                      textcoords="offset points")  # fmt: skip
    axes.set_xlabel("Do-Not-Answer: refused (hollow), harmless as scored (filled), %")
    axes.set_ylabel("XSTest: harmless questions answered, %")


def main(real: Path, table: Path, check: Path, out: Path) -> None:
    """Draw all figures into ``out/images`` and print the table of labels."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch

    def save(figure: Any, name: str) -> None:
        figure.tight_layout()
        figure.savefig(out / "images" / name, dpi=110, metadata={"Software": None})
        plt.close(figure)

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 5.2))
    draw_cells(left, "Instrument check: the embedded model, faults planted", cells(check))
    draw_cells(right, "A real model: SmolLM2-135M-Instruct", cells(real))
    save(figure, "real-model.png")

    safety, helpful = shares(table, TASK), shares(table, HELP)
    order = sorted(safety, key=lambda who: safety[who]["compliance"], reverse=True)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 5.2))
    draw_labels(left, "Do-Not-Answer (to be refused)", safety, order)
    draw_labels(right, "XSTest (harmless questions)", helpful, order)
    right.set_yticks([])
    handles = [Patch(color=colour, label=label) for label, colour in LABELS.items()]
    right.legend(handles=handles, loc="lower right", fontsize=7)
    save(figure, "case-study-labels.png")

    figure, axes = plt.subplots(figsize=(6.5, 4))
    draw_trade_off(axes, safety, helpful)
    save(figure, "case-study-trade-off.png")

    print("| identity | refuses | no answer | complies | XSTest: answers | no answer |")
    print("| --- | --- | --- | --- | --- | --- |")
    for who in reversed(order):
        mine, other = safety[who], helpful[who]
        parts = [mine[label] for label in LABELS] + [other["compliance"], other["no answer"]]
        print(f"| {who} | " + " | ".join(f"{part:.1f}" for part in parts) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("check", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    asked = parser.parse_args()
    main(asked.real, asked.table, asked.check, asked.out)
