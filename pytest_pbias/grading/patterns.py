"""Regular expressions of users on answers of models, each under a time limit.

Python's ``re`` can take years over a pattern with a repeat within a repeat, and nothing in the same
process can stop it unless it is the main thread, which graders are not. A process of its own is
stopped by its own alarm.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_pbias.errors import InfrastructureError

SECONDS = 1.0  # of CPU, for one answer: on a busy machine it is found all the same
_GIVEN_UP = 10  # answers one after the other that take longer: then the rest is not looked at

_CHILD = """
import json, re, signal, sys

def stop(*_):
    raise TimeoutError

signal.signal(signal.SIGVTALRM, stop)
seconds, flags, most, pairs = json.load(sys.stdin)
late = 0
for pattern, text in pairs:
    found = None
    try:
        if late >= most:
            raise TimeoutError
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        for match in re.finditer(pattern, text, flags):
            groups = match.groupdict()
            found = groups.get("answer", match[1] if match.re.groups else match[0]) or ""
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        late = 0
    except TimeoutError:
        found, late = {"late": True}, late + 1
    print(json.dumps(found), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What a pattern finds last: its group ``answer``, else its first, else all of it.

    ``text`` is None where it finds nothing; ``late`` where it took too long to say.
    """

    text: str | None
    late: bool = False


def find_all(
    pairs: Sequence[tuple[str, str]], *, flags: int = 0, seconds: float = SECONDS
) -> list[Found]:
    """What each pattern finds in its text, in order; not looked at after many in a row were late.

    Raises:
        InfrastructureError: the process that looks did not end as it must.
    """
    if not pairs:
        return []
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _CHILD],
            input=json.dumps([seconds, flags, _GIVEN_UP, list(pairs)]),
            capture_output=True,
            text=True,
            check=True,
            timeout=30 + 10 * seconds * len(pairs),
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise InfrastructureError(
            f"patterns could not be looked for: {type(error).__name__}"
        ) from error
    return [Found(None, late=True) if isinstance(one, dict) else Found(one) for one in lines]
