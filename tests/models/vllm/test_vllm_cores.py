"""Cores of the workers of vLLM's CPU build."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_pbias.models.vllm.cores import BINDING, numa_nodes, physical_cores, thread_binding
from pytest_pbias.models.vllm.device import worker_environment


@pytest.mark.parametrize(
    ("arguments", "binding"),
    [
        ([], None),
        (["--dtype", "float32"], None),
        (["--tensor-parallel-size", "2"], "0,1|2,3"),
        (["-tp=2"], "0,1|2,3"),
        (["-pp", "2", "-tp", "2"], "0|1|2|3"),
        (["--data-parallel-size=2"], "0,1|2,3"),
        (["--data-parallel-size=8", "--data-parallel-size-local", "2"], "0,1|2,3"),
        (["-tp", "3"], "0|1|2"),
        (["-tp", "5"], "nobind"),
    ],
)
def test_workers_share_the_cores_of_one_node(arguments: list[str], binding: str | None) -> None:
    assert thread_binding(arguments, [0, 1, 2, 3], nodes=1) == binding


def test_vllm_chooses_where_every_worker_has_a_node() -> None:
    assert thread_binding(["-tp", "2"], [0, 1, 2, 3], nodes=2) is None
    assert thread_binding(["-tp", "4"], [0, 1, 2, 3], nodes=2) == "0|1|2|3"


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=64, unique=True),
    st.integers(1, 8),
    st.integers(1, 8),
)
def test_no_core_has_two_workers(cores: list[int], tensor: int, data: int) -> None:
    found = thread_binding(["-tp", str(tensor), "-dp", str(data)], cores, nodes=1)
    if found is None or found == "nobind":
        assert tensor * data == 1 or tensor * data > len(cores)
        return
    shares = [list(map(int, share.split(","))) for share in found.split("|")]
    used = [core for share in shares for core in share]
    assert len(shares) == tensor * data
    assert len({len(share) for share in shares}) == 1
    assert len(set(used)) == len(used)
    assert set(used) <= set(cores)


def test_siblings_count_as_one_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3, 5})
    for cpu, node in enumerate([0, 0, 1, 1, 1, 1]):
        place = tmp_path / f"cpu/cpu{cpu}"
        (place / f"node{node}").mkdir(parents=True)
        (place / "topology").mkdir()
        (place / "topology/thread_siblings_list").write_text(f"{cpu % 2},{cpu % 2 + 2}\n")
    (tmp_path / "cpu/cpu5/topology/thread_siblings_list").unlink()
    assert physical_cores(tmp_path) == [0, 1, 5]
    assert numa_nodes([0, 1], tmp_path) == 1
    assert numa_nodes([0, 5], tmp_path) == 2
    assert numa_nodes([7], tmp_path) == 1


def test_a_binding_of_the_user_and_builds_for_gpus_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = "0.32.0+cpu"
    monkeypatch.setattr("pytest_pbias.models.vllm.device.installed_version", lambda command: said)
    monkeypatch.setattr("pytest_pbias.models.vllm.device.physical_cores", lambda: [4, 6])
    monkeypatch.setattr("pytest_pbias.models.vllm.device.numa_nodes", lambda cores: 1)
    monkeypatch.delenv(BINDING, raising=False)
    assert worker_environment("vllm", ["-tp", "2"]) == {BINDING: "4|6"}
    assert worker_environment("vllm", []) == {}
    monkeypatch.setenv(BINDING, "0-1")
    assert worker_environment("vllm", ["-tp", "2"]) == {}
    monkeypatch.delenv(BINDING)
    said = "0.32.0"
    assert worker_environment("vllm", ["-tp", "2"]) == {}
