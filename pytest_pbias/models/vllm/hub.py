"""Weights on the Hugging Face Hub: which commit, may they be had, and is there room for them."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import Any

from pytest_pbias.errors import ConfigurationError, InfrastructureError
from pytest_pbias.models.vllm.weights import stated_context

_SECONDS = 15.0


@functools.lru_cache(maxsize=8)
def pinned_commit(repo: str, revision: str | None = None) -> str:
    """The commit that a branch, tag or commit of a repository stands for now.

    Where the hub cannot be asked, it is the one that the cache has.

    Raises:
        ConfigurationError: there is no such repository or revision, or it takes a token.
        InfrastructureError: the hub cannot be asked, and the cache has no copy.
    """
    try:
        return str(_info(repo, revision).sha)
    except ConnectionError as error:
        commit = _cached_commit(repo, revision)
        if commit is None:
            raise InfrastructureError(
                f"model {repo!r}: {error}, and {_cache()} has no copy: fetch it once with "
                f"`hf download {repo}`"
            ) from None
        return commit


def check_obtainable(repo: str, commit: str, *, free: int | None = None) -> None:
    """See that the weights are there or can be fetched, before a server is started for them.

    ``free`` is the room for them, in bytes; that of the cache's disk where it is None.

    Raises:
        ConfigurationError: they are gated and this user has no access, or do not fit the disk.
        InfrastructureError: the hub cannot be asked, and the cache lacks weights.
    """
    try:
        info = _info(repo, commit)
    except ConnectionError as error:
        if not _has_weights(_snapshot(repo, commit)):
            raise InfrastructureError(
                f"model {repo!r}: {error}, and {_cache()} lacks its weights: fetch them once with "
                f"`hf download {repo} --revision {commit[:12]}`"
            ) from None
        return
    missing = _missing_bytes(repo, commit, info)
    if missing and info.gated:
        _check_access(repo)
    room = _free_bytes() if free is None else free
    if missing > room:
        raise ConfigurationError(
            f"model {repo!r}: its weights take {missing / 1e9:.1f} GB and {_cache()} has "
            f"{room / 1e9:.1f} GB free: free some space, or set HF_HOME to another disk"
        )


def hub_context(repo: str, commit: str) -> int | None:
    """The context length that the model's configuration states, in tokens, or None."""
    from huggingface_hub import hf_hub_download

    try:
        path = hf_hub_download(repo, "config.json", revision=commit, etag_timeout=_SECONDS)
        return stated_context(json.loads(Path(path).read_text("utf-8")))
    except Exception:  # the server will say what is wrong with it
        return None


def _info(repo: str, revision: str | None) -> Any:
    """What the hub says of a repository, sizes of files included.

    Raises:
        ConfigurationError: it refuses to.
        ConnectionError: it cannot be asked; the text says why.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=_SECONDS)
    except GatedRepoError:
        raise ConfigurationError(_gated(repo)) from None
    except RevisionNotFoundError:
        raise ConfigurationError(
            f"model {repo!r} has no revision {revision!r} on the hub"
        ) from None
    except RepositoryNotFoundError:
        raise ConfigurationError(
            f"model {repo!r} is not on the hub, or private: check the name, or set HF_TOKEN"
        ) from None
    except HFValidationError:
        raise ConfigurationError(
            f"model {repo!r} is no folder here and cannot be a hub id: write org/name"
        ) from None
    except OfflineModeIsEnabled:
        raise ConnectionError("HF_HUB_OFFLINE forbids to ask the hub") from None
    except Exception as error:
        raise ConnectionError(f"the hub cannot be asked ({type(error).__name__})") from None


def _check_access(repo: str) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        HfApi().auth_check(repo)
    except (GatedRepoError, RepositoryNotFoundError):
        raise ConfigurationError(_gated(repo)) from None
    except Exception:
        return  # the hub does not say; fetching will


def _gated(repo: str) -> str:
    from huggingface_hub import get_token

    do = "ask for access there with the account of your token" if get_token() else "set HF_TOKEN"
    return f"model {repo!r} is gated: accept its terms on its page of the hub, and {do}"


def _missing_bytes(repo: str, commit: str, info: Any) -> int:
    """Bytes that fetching would take: of safetensors, or of .bin where there are none."""
    from huggingface_hub import try_to_load_from_cache

    sizes = {file.rfilename: int(file.size or 0) for file in info.siblings or ()}
    own = {name: size for name, size in sizes.items() if not name.startswith("original/")}
    weights = {name: size for name, size in own.items() if name.endswith(".safetensors")}
    weights = weights or {name: size for name, size in own.items() if name.endswith(".bin")}
    return sum(
        size
        for name, size in weights.items()
        if not isinstance(try_to_load_from_cache(repo, name, revision=commit), str)
    )


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _free_bytes() -> int:
    folder = _cache()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _repo_folder(repo: str) -> Path:
    return _cache() / f"models--{repo.replace('/', '--')}"


def _snapshot(repo: str, commit: str) -> Path:
    return _repo_folder(repo) / "snapshots" / commit


def _cached_commit(repo: str, revision: str | None) -> str | None:
    try:
        return (_repo_folder(repo) / "refs" / (revision or "main")).read_text("ascii").strip()
    except OSError:
        return revision if revision and _snapshot(repo, revision).is_dir() else None


def _has_weights(folder: Path) -> bool:
    found = [*folder.glob("*.safetensors"), *folder.glob("*.bin")]
    return bool(found) and all(path.exists() for path in found)
