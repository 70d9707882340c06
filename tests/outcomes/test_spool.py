"""The file that answers wait in: nothing but its own pieces, and a full disk said in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_pbias.errors import StoreError
from pytest_pbias.outcomes import OutcomeTable, Spool

# In a process of its own: the limit holds for every file that a process writes.
_FULL = """
import resource, sys
from pathlib import Path
from pytest_pbias.errors import StoreError
from pytest_pbias.outcomes import OutcomeTable, Spool

def table(text):
    return OutcomeTable.from_columns({"request_key": ["k"], "response": [text]})

spool = Spool(Path(sys.argv[1]))
first = table("kept").spooled_to(spool)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
try:
    table("long" * 100_000).spooled_to(spool)
except StoreError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
later = table("later").spooled_to(spool)
print(first.text("response"), later.text("response"))
spool.close()
"""


def test_a_full_disk_is_one_line_and_costs_no_other_piece(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    message, pieces = done.stdout.splitlines()
    assert message.startswith(
        f"answers of the outcome table cannot be kept in {tmp_path}: File too"
    )
    assert "free disk space and run again" in message
    assert pieces == "['kept'] ['later']"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    table = OutcomeTable.from_columns({"request_key": ["k"], "response": ["a"]})
    with pytest.raises(StoreError, match="cannot be kept"):
        table.spooled_to(Spool(tmp_path / "file" / "folder"))
