from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.collecting.records import request_key
from pytest_pbias.models.chat import Sampling

SAMPLINGS = st.builds(
    Sampling,
    max_tokens=st.integers(1, 10**6),
    temperature=st.floats(0, 2),
    top_p=st.floats(0, 1),
    top_k=st.integers(0, 100),
    reasoning_effort=st.sampled_from(["", "low"]),
)
FIRST = ("max_tokens", "temperature", "top_p", "top_k")


@given(st.text(), st.text(), SAMPLINGS, st.integers(), st.integers(0, 99))
def test_a_key_is_the_hash_of_everything_that_can_change_the_answer(
    served: str, prompt: str, sampling: Sampling, seed: int, run: int
) -> None:
    """Stores of earlier versions hold keys of this form."""
    later = {name: value for name, value in asdict(sampling).items() if name not in FIRST}
    told = {name: getattr(sampling, name) for name in FIRST}
    told |= {name: value for name, value in later.items() if value != ""}
    parts = json.dumps((served, prompt, told, seed, run), sort_keys=True)
    expected = hashlib.sha256(parts.encode()).hexdigest()
    assert request_key(served, prompt, sampling, seed=seed, repeat=run) == expected
