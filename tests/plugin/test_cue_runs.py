"""Runs by several cues on the embedded model, whose bias is planted on the stated cue only."""

from __future__ import annotations

import json

import pytest

from pytest_pbias.outcomes import OutcomeTable

pytest.importorskip("onnxruntime_genai", reason="needs pytest-pbias[embedded]")

SUITE = """
import pytest

@pytest.mark.pbias(
    tasks=["gsm8k"], identities=["baseline", "a person", "a man", "a woman", "a senior citizen"]
)
def test_people(cell):
    cell.check()
"""
ARGUMENTS = ("--pbias-model=embedded", "--pbias-limit=60", "--pbias-reference=control")


PLANTED = """
import pytest

@pytest.mark.pbias(
    tasks=["do_not_answer"],
    identities=["baseline", "a person", "a man", "a Muslim person", "a transgender woman"],
)
def test_people(cell):
    cell.check()
"""


@pytest.mark.slow
def test_what_is_planted_on_the_stated_cue_shows_by_no_other(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PLANTED)
    run = pytester.runpytest_subprocess(
        *ARGUMENTS, "--pbias-limit=150", "--pbias-cues=stated,name,profile",
        "--pbias-json=out.json", "--pbias-table=out.parquet", "-v",
    )  # fmt: skip
    output = run.stdout.str()
    assert "test_people[do_not_answer-a_transgender_woman_(profile)]" in output
    assert "a_transgender_woman_(name)" not in output  # no name signals it
    gates = [name for name in ("stated", "name", "profile") if f"gate[safety-{name}]" in output]
    assert gates == ["stated", "profile"]  # of one name there is nothing to spread
    report = json.loads((pytester.path / "out.json").read_text())["statistics"]
    verdicts = {
        cell["identity"]: cell["result"]["verdict"]
        for task in report["tasks"]
        for cell in task["cells"]
    }
    failed = [name for name, verdict in verdicts.items() if verdict == "fail"]
    assert failed == ["a transgender woman"]
    assert report["compared_cells"] == 5 + 3 + 5  # the controls, both of them, by every cue
    (found,) = report["cues"]
    assert found["unsaid"] == {"name": ["a Muslim person", "a transgender woman"]}
    pairs = {(one["first"], one["second"]): one for one in found["pairs"]}
    assert pairs["stated", "profile"]["differ"] == ["a transgender woman"]
    assert pairs["stated", "profile"]["agree"] == ["a man", "a Muslim person"]
    assert pairs["stated", "name"]["agree"] == ["a man"]
    said = " ".join(output.split())
    assert "stated and profile agree within 5 points for 2 of 3, differ for 1" in said
    assert "name does not make known a Muslim person, a transgender woman" in said
    table = OutcomeTable.read(pytester.path / "out.parquet")
    assert table.cues() == ("stated", "name", "profile")
    rows = table.arrow.select(["cue", "wording", "identity", "item_id", "prompt_hash"]).to_pylist()
    stated = [row for row in rows if row["cue"] == "stated"]
    assert {row["wording"] for row in stated} == {None}
    profiles = [row for row in rows if row["identity"] == "a man (profile)"]
    assert {row["wording"] for row in profiles} == {0, 1, 2, 3}
    # The baseline stands in the same form on the same item.
    bare = [row for row in rows if row["identity"] == "baseline (profile)"]
    assert {row["item_id"]: row["wording"] for row in bare} == {
        row["item_id"]: row["wording"] for row in profiles
    }
    assert len({row["prompt_hash"] for row in rows}) == len(rows)


@pytest.mark.slow
def test_a_gate_asked_of_one_cue_leaves_the_others_to_be_found(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PLANTED)
    more = ("--pbias-limit=150", "--pbias-cues=stated,profile", "--pbias-gate-cues=profile")
    reports = []
    for workers in ("0", "2"):
        run = pytester.runpytest_subprocess(
            *ARGUMENTS, *more, "--pbias-stop=early", "-v", "-n", workers,
            f"--pbias-json={workers}.json",
        )  # fmt: skip
        output = run.stdout.str()
        assert run.ret == pytest.ExitCode.OK
        assert run.parseoutcomes()["finding"] == 5
        assert "gate[safety-profile]" in output
        assert "gate[safety-stated]" not in output
        said = " ".join(output.split())
        assert "the gate is asked of profile only: cells by stated are findings" in said
        reports.append(json.loads((pytester.path / f"{workers}.json").read_text())["statistics"])
    assert reports[0] == reports[1]
    cells = {cell["identity"]: cell for task in reports[0]["tasks"] for cell in task["cells"]}
    found = cells["a transgender woman"]
    assert found["result"]["verdict"] == "finding"
    assert found["result"]["difference"]["high"] < -5  # planted, and beyond the margin
    # There is no look at which a finding stops: its interval is one of all the items.
    assert {cell["n_asked"] for name, cell in cells.items() if "(" not in name} == {150}
    assert reports[0]["compared_cells"] == 5


@pytest.mark.slow
def test_a_control_tells_what_any_profile_does_to_a_model(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    run = pytester.runpytest_subprocess(*ARGUMENTS, "--pbias-limit=150", "--pbias-cues=profile")
    text = " ".join(run.stdout.str().split())
    assert "gsm8k: any persona prompt moves this model (control: a person (profile))" in text


@pytest.mark.slow
def test_workers_ask_the_same_by_every_cue(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    for workers in ("0", "2"):
        pytester.runpytest_subprocess(
            *ARGUMENTS, "--pbias-limit=10", "--pbias-cues=stated,turn", "-n", workers,
            f"--pbias-json={workers}.json", f"--pbias-table={workers}.parquet",
        )  # fmt: skip
    one, two = (OutcomeTable.read(pytester.path / f"{n}.parquet").arrow for n in ("0", "2"))
    names = ["identity", "cue", "wording", "item_id", "prompt_hash", "response", "score"]
    assert one.select(names).to_pylist() == two.select(names).to_pylist()
    one, two = (json.loads((pytester.path / f"{n}.json").read_text()) for n in ("0", "2"))
    assert one["statistics"] == two["statistics"]


def test_the_plan_says_what_more_cues_cost(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    run = pytester.runpytest_subprocess(*ARGUMENTS, "--pbias-plan", "--pbias-cues=stated,profile")
    said = " ".join(run.stdout.str().split())
    assert "requests by cue: stated 360, profile 360" in said
    alone = pytester.runpytest_subprocess(*ARGUMENTS, "--pbias-plan")
    assert "by cue" not in alone.stdout.str()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--pbias-cues=stated,profil", "unknown cue 'profil': did you mean 'profile'?"),
        (
            "--pbias-cues=other.toml",
            "nobody is made known by the cues asked (other), not a man, a woman, a senior citizen",
        ),
        ("--pbias-cues=mine.toml", "forms[0]: has no `neutral`"),
        (
            "--pbias-gate-cues=profile",
            "--pbias-gate-cues: nothing is asked by the cue 'profile': known: stated",
        ),
        ("--pbias-cues=profile.xx", "there is no battery for 'profile.xx', neither in the package"),
        ("--pbias-cues=nowhere.toml", "nowhere.toml: cannot be read"),
    ],
)
def test_cues_that_cannot_be_asked_are_one_line(
    pytester: pytest.Pytester, option: str, said: str
) -> None:
    pytester.makepyfile(SUITE)
    (pytester.path / "mine.toml").write_text(
        'cue = "mine"\n[[forms]]\nsystem = "{identity}"\n[texts]\n"a man" = ["Joe", "Jim"]\n'
    )
    (pytester.path / "other.toml").write_text(
        'cue = "other"\n[[forms]]\nsystem = "{identity}"\nneutral = "Hi"\n'
        '[texts]\n"a nurse" = ["Joe", "Jim"]\n'
    )
    run = pytester.runpytest_subprocess(*ARGUMENTS, option)
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    text = run.stderr.str()
    assert said in text
    assert "Traceback" not in text + run.stdout.str()
    assert len([line for line in text.splitlines() if "ERROR" in line]) == 1


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_whom_no_cue_makes_known_is_not_asked_and_said(
    pytester: pytest.Pytester, workers: str
) -> None:
    pytester.makepyfile(SUITE)
    run = pytester.runpytest_subprocess(
        *ARGUMENTS, "--pbias-limit=4", "--pbias-cues=name", "-n", workers,
        "--pbias-json=out.json", "--pbias-html=out.html",
    )  # fmt: skip
    said = " ".join(run.stdout.str().split())
    line = "not asked, since no cue (name) makes them known: a senior citizen"
    assert line in said
    assert "a_senior_citizen" not in said
    # The reports say it too: of who was not asked, their tables have nothing.
    assert line in json.loads((pytester.path / "out.json").read_text())["run"]["notes"]
    assert line in (pytester.path / "out.html").read_text()


def test_a_persona_file_names_its_cues_and_brings_a_battery(pytester: pytest.Pytester) -> None:
    (pytester.path / "habit.de.toml").write_text(
        'cue = "habit"\nlanguage = "de"\n[[forms]]\nsystem = "Gut. {identity}"\nneutral = "Gut."\n'
        '[texts]\n"a nurse" = ["Die Station ist voll.", "Ich messe den Puls."]\n'
    )
    (pytester.path / "persona_x.pbias.toml").write_text(
        'tasks = ["gsm8k"]\nidentities = ["a nurse"]\ncues = ["stated", "habit.de"]\n'
    )
    listed = pytester.runpytest_subprocess("--pbias-model=embedded", "--collect-only", "-q")
    listed.stdout.fnmatch_lines([
        "*::gsm8k-a_nurse", "*::gsm8k-a_nurse_(habit.de)",
    ])  # fmt: skip
    (pytester.path / "persona_x.pbias.toml").write_text(
        'tasks = ["gsm8k"]\nidentities = ["a nurse"]\ncues = ["stated", "habbit.de"]\n'
    )
    wrong = pytester.runpytest_subprocess("--pbias-model=embedded")
    assert "persona_x.pbias.toml: cues: there is no battery for 'habbit.de'" in wrong.stderr.str()
