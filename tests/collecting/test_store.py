from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_pbias.collecting.records import Failure, grade_key
from pytest_pbias.collecting.store import Store
from pytest_pbias.errors import StoreError
from pytest_pbias.models.chat import FAILED_FINISH, Response, is_blank
from pytest_pbias.tasks.base import Grade

any_text = st.text(st.characters(exclude_categories=()))
answers = any_text.filter(lambda text: not is_blank(text))
counts = st.none() | st.integers(0, 2**53 - 1)
responses = st.builds(
    Response,
    key=st.text("0123456789abcdef", min_size=1, max_size=64),
    text=answers | answers.map(lambda text: text * 200),
    finish_reason=any_text.filter(lambda text: text.casefold() not in FAILED_FINISH),
    prompt_tokens=counts,
    completion_tokens=counts,
    latency=st.floats(0, 1e9),
)


def response(number: int, text: str = "four") -> Response:
    return Response(f"{number:064x}", text, "stop", 5, 1, 0.25)


def run_python(code: str, *arguments: str, prefix: tuple[str, ...] = ()) -> str:
    command = [*prefix, sys.executable, "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@given(st.lists(responses, max_size=20, unique_by=lambda one: one.key))
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_put_is_got_back_unchanged(tmp_path: Path, batch: list[Response]) -> None:
    path = tmp_path / "round.sqlite"
    path.unlink(missing_ok=True)
    store = Store(path)
    store.put_many(batch)
    store.close()
    again = Store(path)
    assert again.get_many(one.key for one in batch) == {one.key: one for one in batch}
    assert again.verify() == 0
    again.close()


def test_first_response_to_a_key_stays(store: Store) -> None:
    store.put_many([response(1, "first")])
    store.put_many([response(1, "second")])
    assert store.get_many([response(1).key])[response(1).key].text == "first"


def test_missing_keeps_order_and_drops_repeats(store: Store) -> None:
    store.put_many([response(n) for n in range(0, 3000, 2)])
    keys = [response(n).key for n in (2999, 5, 4, 5, 1)]
    assert store.missing(keys) == [keys[0], keys[1], keys[4]]
    assert store.count() == 1500
    assert list(store.keys()) == [response(n).key for n in range(0, 3000, 2)]


def test_a_changed_record_is_quarantined_and_read_as_missing(store: Store) -> None:
    store.put_many([response(n, "word " * (n + 1)) for n in range(200)])
    with sqlite3.connect(store.path) as raw:
        raw.execute("UPDATE responses SET body = 'five' WHERE key = ?", (response(3).key,))
        raw.execute("UPDATE responses SET latency = 9 WHERE key = ?", (response(4).key,))
        raw.execute(
            "UPDATE responses SET body = substr(body, 3) WHERE key = ?", (response(150).key,)
        )
    raw.close()
    keys = [response(n).key for n in range(200)]
    assert len(store.get_many(keys)) == 197
    assert store.missing(keys) == [keys[3], keys[4], keys[150]]
    assert "3 damaged responses set aside" in store.notices[0]
    assert store.verify() == 0
    store.put_many([response(3, "again")])
    assert store.get_many([keys[3]])[keys[3]].text == "again"


def _file_with(path: Path, responses: Iterable[Response]) -> bytearray:
    """The bytes of a closed store that has these, all of them in its one file."""
    store = Store(path)
    store.put_many(responses)
    store.close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    return bytearray(path.read_bytes())


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bytes_never_change_an_answer(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "store.sqlite"
    put = {response(n).key: response(n, f"answer {n} " * (1 + n % 90)) for n in range(600)}
    data = _file_with(path, put.values())
    for step in range(8):  # spread by a fixed rule; the two root pages at the start are spared
        place = 8192 + (seed * 7919 + step * 104729) % (len(data) - 8192)
        data[place] ^= 0xFF
    path.write_bytes(data)
    store = Store(path)
    store.verify()
    found = store.get_many(put)
    assert all(found[key] == put[key] for key in found)
    assert len(found) > 300
    assert store.missing(put) == [key for key in put if key not in found]
    store.put_many(put.values())
    assert store.get_many(put) == put
    store.close()


@pytest.mark.parametrize("seed", range(7))
def test_a_file_whose_schema_is_damaged_is_rebuilt(tmp_path: Path, seed: int) -> None:
    """The description of the tables, of which SQLite quotes the bytes that are no text."""
    path = tmp_path / "store.sqlite"
    put = {response(n).key: response(n) for n in range(100)}
    data = _file_with(path, put.values())
    texts = [place for place in range(100, 4096) if 32 <= data[place] < 127]
    for step in range(3):
        data[texts[(seed * 131 + step * 17) % len(texts)]] = 0xE7
    path.write_bytes(data)
    store = Store(path)
    assert store.get_many(put) == put or "was damaged" in store.notices[0]
    store.verify()
    store.put_many(put.values())
    assert store.get_many(put) == put
    store.close()


def test_a_file_that_is_no_database_is_set_aside_once(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"not a database at all " * 500)
    store = Store(path)
    store.put_many([response(1)])
    assert store.count() == 1
    assert "store.sqlite.damaged-1" in store.notices[0]
    assert (tmp_path / "store.sqlite.damaged-1").exists()
    store.close()


def test_a_newer_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    Store(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"newer pytest-pbias \(store version 99"):
        Store(path)
    assert path.read_bytes() == before


def test_a_foreign_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE recipes (name)")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a pytest-pbias store"):
        Store(path)
    assert path.read_bytes() == before


def test_read_only_needs_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        Store(tmp_path / "none.sqlite", read_only=True)


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bwrap for a read-only folder")
def test_a_read_only_folder_can_be_read_and_says_so_when_written(
    tmp_path: Path, store: Store
) -> None:
    store.put_many([response(1)])
    store.close()
    prefix = ("bwrap", "--dev-bind", "/", "/", "--ro-bind", str(tmp_path), str(tmp_path))
    code = """
        import sys
        from pathlib import Path
        from pytest_pbias.collecting.store import Store
        from pytest_pbias.errors import StoreError
        path = Path(sys.argv[1])
        print(Store(path, read_only=True).count())
        for target in (path, path.parent / "new" / "store.sqlite"):
            try:
                Store(target).put_meta("a", "b")
            except StoreError as error:
                print(error)
    """
    lines = run_python(code, str(store.path), prefix=prefix).splitlines()
    assert lines[0] == "1"
    assert len(lines) == 3
    assert all("make it writable or choose another store" in line for line in lines[1:])


def test_disk_full_is_one_line_and_loses_nothing_stored(tmp_path: Path, store: Store) -> None:
    code = """
        import resource, signal, sys
        from pathlib import Path
        from pytest_pbias.models.chat import Response
        from pytest_pbias.collecting.store import Store
        from pytest_pbias.errors import StoreError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        store = Store(Path(sys.argv[1]))
        stored = 0
        try:
            for batch in range(1000):
                store.put_many(
                    Response(f"{batch * 50 + n:064x}", f"{n}" * 150, "stop", 1, 1, 0.0)
                    for n in range(50)
                )
                stored += 50
        except StoreError as error:
            print(stored, error)
    """
    stored, _, message = run_python(code, str(store.path)).partition(" ")
    assert "free disk space and run again" in message
    assert "\n" not in message
    assert 0 < int(stored) < 50_000
    assert store.verify() == 0
    assert store.count() >= int(stored)
    store.put_many([response(10**9)])


def test_two_processes_write_at_once(store: Store) -> None:
    code = """
        import sys
        from pathlib import Path
        from pytest_pbias.models.chat import Response
        from pytest_pbias.collecting.store import Store
        store = Store(Path(sys.argv[1]))
        for n in range(int(sys.argv[2]), 400, 2):
            store.put_many([Response(f"{k:064x}", str(k), "stop", 1, 1, 0.0) for k in (n, n + 1)])
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(store.path)]
    both = [subprocess.Popen([*command, str(first)]) for first in (0, 1)]
    assert [one.wait(60) for one in both] == [0, 0]
    assert store.count() == 401
    assert store.verify() == 0


OPEN_NEW_ONES = """
    import sys, time
    from pathlib import Path
    from pytest_pbias.collecting.store import Store
    begin = float(sys.argv[2])
    for n in range(60):
        while time.time() < begin + 0.02 * n:
            pass
        Store(Path(sys.argv[1]) / str(n) / "store.sqlite")
"""


def test_processes_make_a_store_at_once(tmp_path: Path) -> None:
    # One of two xdist workers was refused, "database is locked", where both made the file.
    command = [sys.executable, "-c", textwrap.dedent(OPEN_NEW_ONES), str(tmp_path)]
    begin = str(time.time() + 2)
    all_of_them = [subprocess.Popen([*command, begin], stderr=subprocess.PIPE) for _ in range(4)]
    assert [one.communicate(timeout=60)[1] for one in all_of_them] == [b""] * 4


CLOSE_WHILE_WRITING = """
    import sys, threading, time
    from pathlib import Path
    from pytest_pbias.collecting.store import Store
    store = Store(Path(sys.argv[1]))
    end = time.monotonic() + 1.0
    written = [0, 0]
    def write(thread):
        while time.monotonic() < end:
            store.put_meta(f"{thread}", str(written[thread]))
            written[thread] += 1
    threads = [threading.Thread(target=write, args=(thread,)) for thread in (0, 1)]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        store.close()
    for thread in threads:
        thread.join()
    assert [store.get_meta("0"), store.get_meta("1")] == [str(n - 1) for n in written]
"""


def test_closing_waits_for_threads_that_write(tmp_path: Path) -> None:
    # In a process of its own: SQLite crashes where a connection in use is closed.
    run_python(CLOSE_WHILE_WRITING, str(tmp_path / "store.sqlite"))


def test_grades_meta_and_failures(store: Store) -> None:
    key = grade_key("choice", "1", "mmlu/1", "(A) \ud800")
    assert key != grade_key("choice", "2", "mmlu/1", "(A) \ud800")
    assert key != grade_key("choic", "e1", "mmlu/1", "(A) \ud800")
    store.put_grades({key: Grade(1.0, "correct", True)})
    assert store.get_grades([key, "other"]) == {key: Grade(1.0, "correct", True)}
    store.put_meta("plan", json.dumps([1]))
    store.put_meta("plan", json.dumps([2]))
    assert store.get_meta("plan") == "[2]"
    assert store.get_meta("none") is None
    store.put_failures("me", [Failure("a", "lost \ud800", 3)])
    assert store.get_failures("me", ["a", "b"])["a"].attempts == 3
    assert store.get_failures("you", ["a"]) == {}


def test_every_thread_leaves_a_file_that_another_process_rebuilt(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = Store(path)
    with ThreadPoolExecutor(1) as collector:
        collector.submit(store.put_many, [response(1)]).result()
        run_python(
            """
            import sys
            from pathlib import Path
            from pytest_pbias.collecting import Store
            store = Store(Path(sys.argv[1]))
            store._connections.repair()
            store.count()
            """,
            str(path),
        )
        assert store.count() == 1  # this thread has the new file now
        collector.submit(store.put_many, [response(2)]).result()
    store.close()
    assert sorted(Store(path, read_only=True).keys()) == [response(1).key, response(2).key]


@pytest.mark.parametrize("share", [0.5, 0.7, 0.95])
def test_a_file_that_lost_its_end_keeps_what_comes_before(tmp_path: Path, share: float) -> None:
    path = tmp_path / "store.sqlite"
    store = Store(path)
    for start in range(0, 300, 50):
        store.put_many(
            Response(f"{number:064x}", f"answer {number} " * 20, "stop", 1, 2, 0.5)
            for number in range(start, start + 50)
        )
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    os.truncate(path, int(path.stat().st_size * share))
    cut = Store(path)
    assert cut.count() >= 300 * (share - 0.2)
    assert "was damaged" in cut.notices[0]
    assert cut.verify() == 0
    cut.close()
