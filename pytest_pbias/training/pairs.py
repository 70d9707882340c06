"""Preference pairs: what they are, how they are read, and the paper's four variants."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from pytest_pbias.errors import ConfigurationError, DataError
from pytest_pbias.files.writing import save_text
from pytest_pbias.prompts import BASELINE, Identity, Message, render_messages

Variant = Literal["as-is", "no-system", "random-identity", "three-identities"]
_SEVERAL = 3  # identities an example
VARIANTS: tuple[Variant, ...] = get_args(Variant)

_PROMPTS = ("question", "prompt")
_READERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """A chat, the answer that is wanted, and one that is not.

    ``item`` and ``identity`` say where a mined pair comes from; both are empty otherwise.
    """

    messages: tuple[Message, ...]
    chosen: str
    rejected: str
    item: str = ""
    identity: str = ""


def read_pairs(
    source: str, say: Callable[[str], None] = lambda _: None
) -> tuple[PreferencePair, ...]:
    """Read pairs from a local file (JSONL, JSON, Parquet, CSV) or from the hub.

    Columns: ``chosen``, ``rejected``, and ``question`` or ``prompt`` (a text, or a list of chat
    messages); ``system`` is optional. Rows that prefer nothing (an answer is blank, or both are the
    same) are left out, and ``say`` receives their number: published sets have a few.

    Raises:
        DataError: the file cannot be read, lacks a column, has a malformed row, or no row that
            prefers anything.
    """
    rows, columns = _rows(source)
    asked = next((name for name in _PROMPTS if name in columns), None)
    missing = [name for name in ("chosen", "rejected") if name not in columns]
    if asked is None:
        missing.insert(0, "question (or prompt)")
    if asked is None or missing:
        raise DataError(
            f"pairs {source}: no column {', '.join(missing)}; there are: {', '.join(columns)}"
        )
    read = [_pair(row, asked, f"pairs {source}, row {n}") for n, row in enumerate(rows, 1)]
    if not read:
        raise DataError(f"pairs {source}: there are no rows")
    pairs = tuple(
        pair for pair in read if pair.chosen and pair.rejected and pair.chosen != pair.rejected
    )
    if not pairs:
        raise DataError(f"pairs {source}: in every row an answer is blank or both are the same")
    if left_out := len(read) - len(pairs):
        say(f"{left_out:,} of {len(read):,} rows left out: an answer is blank or both are the same")
    return pairs


def format_of(source: str) -> str | None:
    """The format of a local file of pairs; None where ``source`` is an id of the hub.

    Raises:
        DataError: it is a path, and there is no such file, or of no format that can be read.
    """
    path = Path(source).expanduser()
    kind = _READERS.get(path.suffix.lower())
    if kind is None and not path.exists():
        return None
    if kind is None:
        raise DataError(f"pairs {source}: give a .jsonl, .json, .parquet or .csv file")
    if not path.is_file():
        raise DataError(f"pairs {source}: there is no such file")
    return kind


def _rows(source: str) -> tuple[Iterable[Mapping[str, Any]], list[str]]:
    kind = format_of(source)
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        if kind is None:
            found = load_dataset(source, split="train")
        else:
            path = str(Path(source).expanduser())
            found = load_dataset(kind, data_files=path, split="train")
    except (DatasetNotFoundError, ConnectionError) as error:
        raise DataError(
            f"pairs {source}: neither a file nor within reach on the hub ({_first(error)})"
        ) from None
    except (DatasetsError, ValueError, OSError, TypeError) as error:
        raise DataError(f"pairs {source}: cannot be read: {_first(error)}") from None
    return found, list(found.column_names)


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _pair(row: Mapping[str, Any], asked: str, where: str) -> PreferencePair:
    chosen, rejected = (_answer(row[name], name, where) for name in ("chosen", "rejected"))
    system = row.get("system")
    if system is not None and not isinstance(system, str):
        raise DataError(f"{where}: system is not a text")
    messages = _messages(row[asked], asked, where)
    if system and messages[0]["role"] != "system":
        messages = ({"role": "system", "content": system}, *messages)
    return PreferencePair(messages, chosen, rejected)


def _messages(value: Any, asked: str, where: str) -> tuple[Message, ...]:
    if isinstance(value, str) and value.strip():
        return ({"role": "user", "content": value},)
    shaped = isinstance(value, list) and all(
        isinstance(turn, dict)
        and turn.get("role") in ("system", "user", "assistant")
        and isinstance(turn.get("content"), str)
        for turn in value
    )
    if not shaped or not value or value[-1]["role"] != "user":
        raise DataError(f"{where}: {asked} is neither a text nor chat messages ending in user's")
    return tuple({"role": turn["role"], "content": turn["content"]} for turn in value)


def _answer(value: Any, name: str, where: str) -> str:
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        value = value[-1].get("content")
    if not isinstance(value, str):
        raise DataError(f"{where}: {name} is not a text")
    return value if value.strip() else ""


def apply_variant(
    pairs: Sequence[PreferencePair], variant: Variant, identities: Sequence[Identity], *, seed: int
) -> tuple[PreferencePair, ...]:
    """The pairs as they are, without system prompts, or with random identities in them.

    The variants of arXiv 2406.11107 and its released code: *random-identity* replaces the system
    prompt by that of an identity; *three-identities* adds to the pairs as they are three copies of
    each, of different identities. The baseline among ``identities`` stands for no system prompt.

    Raises:
        ConfigurationError: there are fewer identities than are drawn.
    """
    if variant == "as-is":
        return tuple(pairs)
    if variant == "no-system":
        return tuple(_stating(pair, BASELINE) for pair in pairs)
    most = _SEVERAL if variant == "three-identities" else 1
    if not identities:
        raise ConfigurationError("no identity is left to draw system prompts from")
    if len(identities) < most:
        raise ConfigurationError(
            f"{most} identities are drawn for each pair, and {len(identities)} are left"
        )
    rng = np.random.default_rng(seed)
    if variant == "random-identity":
        return tuple(_stating(pair, identities[int(rng.integers(len(identities)))])
                     for pair in pairs)  # fmt: skip
    copies = [
        _stating(pair, identities[int(number)])
        for pair in pairs
        for number in rng.choice(len(identities), size=most, replace=False)
    ]
    return (*pairs, *copies)


def _stating(pair: PreferencePair, identity: Identity) -> PreferencePair:
    """The pair with an identity for its system prompt; without one for the baseline."""
    turns = tuple(turn for turn in pair.messages if turn["role"] != "system")
    if identity.kind != "baseline":
        turns = (render_messages(identity, "")[0], *turns)
    return replace(pair, messages=turns)


def write_pairs(pairs: Iterable[PreferencePair], path: Path) -> None:
    """Write pairs as JSONL that :func:`read_pairs` reads back.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    lines = []
    for pair in pairs:
        row = asdict(pair)
        row["prompt"] = list(row.pop("messages"))
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    save_text(path, "".join(lines), "the pairs")
