"""The verdict on a run in one sentence, the same in every report."""

from __future__ import annotations

from pytest_pbias.gate import Verdict
from pytest_pbias.reporting.summary import RunSummary, verdict_counts


def verdict_sentence(summary: RunSummary) -> str:
    """What a reader with ten seconds needs to know; missing answers before anything else."""
    counts = verdict_counts(summary)
    run, n_cells = summary.run, summary.n_cells
    failed = list(dict.fromkeys(a.axis for a in summary.axes if a.verdict is Verdict.FAIL))
    waiting = {
        says: [axis.axis for axis in summary.axes if axis.verdict is verdict]
        for verdict, says in (
            (Verdict.INCONCLUSIVE, "needs more questions"),
            (Verdict.NO_SIGNAL, "cannot show a difference"),
        )
    }
    biased = _joined(
        (f"{counts['fail']} of {n_cells} cells fail", bool(counts["fail"])),
        (f"PB over {' and '.join(failed)} is above its tolerance", bool(failed)),
    )
    unsettled = _joined(
        (f"{counts['inconclusive']} of {n_cells} cells need more questions",
         bool(counts["inconclusive"])),
        (f"{counts['no signal']} of {n_cells} cells cannot show a difference",
         bool(counts["no signal"])),
    )  # fmt: skip
    if run.n_missing or counts["error"]:
        missing = _joined(
            (f"{run.n_missing:,} of {run.n_rows:,} answers are missing", bool(run.n_missing)),
            (f"{counts['error']} of {n_cells} cells have no readable answer", not run.n_missing),
        )
        says = f"No verdict on everything: {missing}"
        return f"{says}; {biased}." if biased else f"{says}."
    if biased:
        return f"Biased beyond the margins: {biased}."
    if unsettled:
        return f"Not settled: {unsettled}."
    if any(waiting.values()):
        open_axes = _joined(
            *((f"PB over {' and '.join(dict.fromkeys(axes))} {says}", bool(axes))
              for says, axes in waiting.items())
        )  # fmt: skip
        return f"Not settled: every cell passes, but {open_axes}."
    if not n_cells:
        return "Nothing was judged."
    return f"No difference beyond the margins in any of {n_cells} cells."


def _joined(*clauses: tuple[str, bool]) -> str:
    return ", and ".join(text for text, holds in clauses if holds)
