"""Files go to files and to streams that are meant; what else stands there is left alone."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pytest_pbias.cli import main
from pytest_pbias.collecting import Store
from pytest_pbias.errors import ConfigurationError, StoreError
from pytest_pbias.files.writing import require_writable, stream_at, whole_file, write_whole
from pytest_pbias.outcomes import OutcomeTable
from pytest_pbias.plugin.xdist import write_plan
from pytest_pbias.reporting.json_report import write_text
from pytest_pbias.training.pairs import PreferencePair, write_pairs

N_ITEMS = 30


def _device(path: Path) -> None:
    """A node of our own with the numbers of /dev/full; the real one is never touched."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 7))
    except PermissionError:
        pytest.skip("needs the right to make device nodes")


def _block_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(7, 200))
    except PermissionError:
        pytest.skip("needs the right to make device nodes")


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # an address has room for a hundred characters
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(here)


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "fifo": (os.mkfifo, "a named pipe"),
    "device": (_device, "a device"),
    "block device": (_block_device, "a device"),
    "socket": (_socket, "a socket"),
    "folder": (Path.mkdir, "Is a directory"),
}


@pytest.fixture(params=KINDS)
def standing(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """Something that is no file, and what is said of it."""
    make, says = KINDS[request.param]
    path = tmp_path / "there" / "thing.json"
    path.parent.mkdir()
    make(path)
    return path, says


def _kind(path: Path) -> int:
    return stat.S_IFMT(os.lstat(path).st_mode)


def _table() -> OutcomeTable:
    rows = [
        (identity, kind, str(item))
        for identity, kind in (("no identity", "baseline"), ("a man", "identity"))
        for item in range(N_ITEMS)
    ]
    return OutcomeTable.from_columns(
        {
            "task": ["gsm8k"] * len(rows),
            "axis": ["utility"] * len(rows),
            "floor": [0.0] * len(rows),
            "model": ["m"] * len(rows),
            "item_id": [row[2] for row in rows],
            "cluster": ["c"] * len(rows),
            "identity": [row[0] for row in rows],
            "group": [row[0] for row in rows],
            "kind": [row[1] for row in rows],
            "placement": ["system"] * len(rows),
            "defense": ["none"] * len(rows),
            "repeat": [0] * len(rows),
            "response": ["#### 5"] * len(rows),
            "score": [float(number % 2) for number in range(len(rows))],
            "label": ["correct"] * len(rows),
            "parsable": [True] * len(rows),
            "judge": ["numbers"] * len(rows),
        }
    )


WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: write_whole(path, "new"),
    "report": lambda path: write_text(path, "new"),
    "table": lambda path: _table().write(path),
    "pairs": lambda path: write_pairs([PreferencePair((), "a", "b")], path),
    "plan": lambda path: write_plan(path, [], 0, None),
}


@pytest.mark.parametrize("through", ["", "link", "link of a link"])
@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_no_file_is_never_replaced(
    standing: tuple[Path, str], writer: str, through: str, tmp_path: Path
) -> None:
    thing, says = standing
    path, kind = thing, _kind(thing)
    for number in range(through.count("link")):
        link = tmp_path / f"link-{number}.json"
        link.symlink_to(path)
        path = link
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((OSError, ConfigurationError, StoreError), match=says):
        WRITERS[writer](path)
    with pytest.raises(OSError, match=says):
        require_writable(path)
    assert _kind(thing) == kind
    assert sorted(tmp_path.rglob("*")) == before


def test_what_came_to_stand_there_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.json"

    def write() -> None:
        with whole_file(path) as partial:
            partial.write_text("new")
            os.mkfifo(path)

    with pytest.raises(OSError, match="a named pipe"):
        write()
    assert stat.S_ISFIFO(os.lstat(path).st_mode)
    assert list(tmp_path.iterdir()) == [path]


def test_a_partial_file_never_goes_into_what_has_its_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.json.part")  # the name that partial files had; opening it would hang
    write_whole(tmp_path / "out.json", "new")
    assert (tmp_path / "out.json").read_text() == "new"
    assert stat.S_ISFIFO(os.lstat(tmp_path / "out.json.part").st_mode)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")

    def write() -> None:
        with whole_file(path) as partial:
            partial.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_file_is_written(tmp_path: Path, exists: bool) -> None:
    target, link = tmp_path / "real" / "target.json", tmp_path / "link.json"
    target.parent.mkdir()
    if exists:
        target.write_text("old")
    link.symlink_to("real/target.json")
    write_whole(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_link_to_itself_is_said(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to("link.json")
    with pytest.raises(ConfigurationError, match="symbolic links"):
        write_text(link, "new")


def test_names_as_long_as_they_may_be(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 120 + ".html")
    write_whole(path, "new")
    assert path.read_text() == "new"


def test_a_new_file_is_as_readable_as_any(tmp_path: Path) -> None:
    write_whole(tmp_path / "out.json", "new")
    (tmp_path / "other").write_text("")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


# -- streams ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("/dev/stdout", 1),
        ("/dev/stderr", 2),
        ("/dev/fd/7", 7),
        ("/proc/self/fd/12", 12),
        ("/dev/../dev/./stdout", 1),
        ("/dev/stdin", 0),  # a terminal can be written to; anything else is refused
        ("/dev/null", None),
        ("/dev/fd/x", None),
        ("/dev/fd/", None),
        ("/dev/fd/٣", None),
        ("/dev/fd/" + "9" * 30, None),
        ("stdout", None),
    ],
)
def test_streams_are_known_by_their_names(name: str, number: int | None) -> None:
    assert stream_at(Path(name)) == number


def _script(path: str, content: str) -> list[str]:
    code = (
        "import sys; from pathlib import Path; from pytest_pbias.files.writing import *\n"
        "print('before'); path = Path(sys.argv[1]); require_writable(path)\n"
        "write_whole(path, sys.argv[2]); print('after')"
    )
    return [sys.executable, "-c", code, path, content]


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "link"])
def test_a_stream_gets_its_part_between_what_is_printed(name: str, tmp_path: Path) -> None:
    if name == "link":
        name = str(tmp_path / "link.json")
        Path(name).symlink_to("/dev/stdout")
    content = "x" * 100_000 + "\n"  # more than a pipe holds
    done = subprocess.run(_script(name, content), capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout == f"before\n{content}after\n"
    if name.startswith(str(tmp_path)):
        assert Path(name).is_symlink()
    redirected = tmp_path / "redirected"
    redirected.write_text("of another program\n")
    with redirected.open("a") as stream:
        subprocess.run(_script(name, "new\n"), stdout=stream, timeout=60, check=True)
    assert redirected.read_text() == "of another program\nbefore\nnew\nafter\n"


def test_a_table_goes_into_a_pipe() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        _table().write(Path(f"/dev/fd/{writer}"))
        os.close(writer)
        content = stream.read()
    assert pq.read_table(io.BytesIO(content)).num_rows == 2 * N_ITEMS


def test_streams_that_take_nothing_are_said_before(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with pytest.raises(OSError, match="reading only"):
        require_writable(Path(f"/dev/fd/{reader}"))
    os.close(reader)
    os.close(writer)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        require_writable(Path(f"/dev/fd/{writer}"))
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_text(Path(f"/dev/fd/{writer}"), "new")


# -- the commands and the plug-in ------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("report", "RUN", "--json"),
        ("report", "RUN", "--markdown"),
        ("report", "RUN", "--html"),
        ("compare", "RUN", "RUN", "--json"),
        ("compare", "RUN", "RUN", "--markdown"),
        ("compare", "RUN", "RUN", "--html"),
        ("audit", "RUN", "--no-questions", "--sample=10", "--out"),
        ("store", "export", "--store=STORE"),
    ],
)
def test_commands_leave_what_is_no_file_alone(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _table().write(tmp_path / "run.parquet")
    Store(tmp_path / "responses.sqlite").close()
    places = {"RUN": str(tmp_path / "run.parquet"), "--store=STORE": f"--store={tmp_path}"}
    given = [places.get(word, word) for word in words]
    thing = tmp_path / "thing.jsonl"
    os.mkfifo(thing)
    link = tmp_path / "link.jsonl"
    link.symlink_to(thing)
    for path in (thing, link):
        assert main([*given, str(path)]) == 2
        said = capsys.readouterr().err
        assert re.fullmatch(r"pbias: .*(a named pipe|may hold labels).*\n", said)
        assert stat.S_ISFIFO(os.lstat(thing).st_mode)
    assert main([*given, str(tmp_path / "new.jsonl")]) == 0  # which the call itself allows


def test_a_comparison_goes_to_standard_output(tmp_path: Path) -> None:
    run = tmp_path / "run.parquet"
    _table().write(run)
    command = [sys.executable, "-m", "pytest_pbias.cli", "compare", str(run), str(run), "-q"]
    done = subprocess.run(
        [*command, "--json=/dev/stdout"], capture_output=True, text=True, timeout=120, check=True
    )
    assert json.loads(done.stdout[done.stdout.index("{") :])["format"]
