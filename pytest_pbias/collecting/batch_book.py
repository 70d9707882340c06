"""What a store remembers of batches, so that no session pays twice for what one has submitted."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_pbias.collecting.store import Store
from pytest_pbias.collecting.waiting import owner_alive

_ENTRY = "batches:"
_MORE = ""  # no batch's id: the place of all that is not an open batch
_STALE_SECONDS = 3600.0  # no submission takes longer; of an owner on another host nothing is known


@dataclass(frozen=True, slots=True)
class Claim:
    """Requests that a collector is about to submit; ``owner`` is empty once it has given up."""

    owner: str
    since: float
    keys: list[str]

    @property
    def stale(self) -> bool:
        """Whether nobody submits them any more: the provider knows if they were submitted."""
        return not owner_alive(self.owner) or time.time() - self.since > _STALE_SECONDS


@dataclass(slots=True)
class Page:
    """The entry of one served model: batches by id, claims by tag, tags of fruitless batches."""

    open: dict[str, list[str]] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    fruitless: dict[str, int] = field(default_factory=dict)

    def covered(self) -> set[str]:
        """Keys that are at the provider, or may be."""
        lists = [*self.open.values(), *(claim.keys for claim in self.claims.values())]
        return {key for keys in lists for key in keys}

    def tag(self, keys: Sequence[str]) -> str:
        """What a batch of these requests is found by: another one after each that gave nothing."""
        plain = _tag(keys)
        times = self.fruitless.get(plain, 0)
        return hashlib.sha256(f"{plain}:{times}".encode()).hexdigest() if times else plain

    def count_fruitless(self, keys: Sequence[str]) -> None:
        """A batch of these requests gave nothing."""
        plain = _tag(keys)
        self.fruitless[plain] = self.fruitless.get(plain, 0) + 1

    @classmethod
    def decode(cls, text: str | None) -> Page:
        """Read an entry; the first ones held nothing but open batches."""
        rows: dict[str, Any] = json.loads(text or "{}")
        more = rows.pop(_MORE, {})
        claims = {tag: Claim(*claim) for tag, claim in more.get("claims", {}).items()}
        return cls(rows, claims, more.get("fruitless", {}))

    def encode(self) -> str:
        """The text of the entry."""
        claims = {tag: (one.owner, one.since, one.keys) for tag, one in self.claims.items()}
        return json.dumps({**self.open, _MORE: {"claims": claims, "fruitless": self.fruitless}})


class BatchBook:
    """The open batches of the model served as ``name``, shared by all sessions of a store.

    A request is claimed before it is submitted and stands under its batch's id from then on, until
    the batch has ended and what it holds is stored. Each method is one transaction.

    Raises:
        StoreError: from every method, when the store cannot be read or written.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._entry = _ENTRY + name

    def read(self) -> Page:
        """What is remembered now."""
        return Page.decode(self._store.get_meta(self._entry))

    def claim(self, owner: str, keys: Iterable[str]) -> tuple[str, list[str]]:
        """Claim those of ``keys`` that nobody submits or has submitted; their tag, and them."""
        wanted = list(keys)
        claimed: tuple[str, list[str]] = ("", [])

        def change(page: Page) -> None:
            nonlocal claimed
            covered = page.covered()
            free = [key for key in wanted if key not in covered]
            claimed = (page.tag(free), free)
            if free:
                page.claims[claimed[0]] = Claim(owner, time.time(), free)

        self._change(change)
        return claimed

    def opened(self, tag: str, batch_id: str, keys: Sequence[str]) -> None:
        """The claim ``tag`` is a batch now."""

        def change(page: Page) -> None:
            page.claims.pop(tag, None)
            page.open[batch_id] = list(keys)

        self._change(change)

    def unclaim(self, tag: str, owner: str) -> None:
        """Nothing was submitted under ``tag``; a claim that another owner has made since stays."""

        def change(page: Page) -> None:
            claim = page.claims.get(tag)
            if claim is not None and claim.owner == owner:
                del page.claims[tag]

        self._change(change)

    def release(self, owner: str) -> None:
        """``owner`` has ended: who comes next asks the provider what became of its claims."""
        if not any(claim.owner == owner for claim in self.read().claims.values()):
            return

        def change(page: Page) -> None:
            for tag, claim in page.claims.items():
                if claim.owner == owner:
                    page.claims[tag] = Claim("", claim.since, claim.keys)

        self._change(change)

    def ended(self, batch_id: str, *, fruitless: bool) -> None:
        """What a batch holds is stored. A ``fruitless`` one is not to be found by its tag again."""

        def change(page: Page) -> None:
            keys = page.open.pop(batch_id, None)
            if keys is not None and fruitless:
                page.count_fruitless(keys)

        self._change(change)

    def lost(self, batch_id: str, keys: Iterable[str]) -> None:
        """Nothing will come of ``keys`` from a batch; the others in it are not given up."""
        gone = set(keys)

        def change(page: Page) -> None:
            before = page.open.pop(batch_id, [])
            left = [key for key in before if key not in gone]
            if left:
                page.open[batch_id] = left
            elif before:
                page.count_fruitless(before)

        self._change(change)

    def _change(self, change: Callable[[Page], None]) -> None:
        def work(text: str | None) -> str:
            page = Page.decode(text)
            change(page)
            return page.encode()

        self._store.change_meta(self._entry, work)


def _tag(keys: Sequence[str]) -> str:
    return hashlib.sha256("".join(keys).encode()).hexdigest()
