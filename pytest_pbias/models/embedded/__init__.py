"""The embedded model: where it lies, what it weighs, and the server that answers with it."""

from __future__ import annotations

from pathlib import Path

from pytest_pbias.errors import ConfigurationError
from pytest_pbias.models.contents import contents_digest

SERVED_NAME = "pbias-embedded"
"""The name the server answers to."""

RUNTIME_FOLDER = "runtime"
"""Folder below the model folder that onnxruntime-genai loads."""

_PACKAGE = Path(__file__).resolve().parents[2]


def _fixtures() -> Path:
    for folder in (_PACKAGE / "fixtures", _PACKAGE.parent / "fixtures"):
        if (folder / "embedded").is_dir():
            return folder
    raise ConfigurationError(
        f"the embedded model is not in {_PACKAGE / 'fixtures'} nor in "
        f"{_PACKAGE.parent / 'fixtures'}; reinstall pytest-pbias or run `python fixtures/train.py`"
    )


def locate() -> Path:
    """Folder of the embedded model, in a wheel or in a checkout.

    Raises:
        ConfigurationError: it is in neither place.
    """
    return _fixtures() / "embedded"


def data_dir() -> Path:
    """Folder of the data sets that belong to the embedded model, in the real sets' layout."""
    return _fixtures() / "data"


def find_data(given: Path | None, *, embedded: bool) -> Path | None:
    """The folder of data sets that a user names; None where they come from the hub.

    ``embedded``, where there is no such folder, stands for those of the embedded model, which are
    its own where nothing is ``given``.

    Raises:
        ConfigurationError: there is no such folder.
    """
    if given is None:
        return data_dir() if embedded else None
    if given.is_dir():
        return given
    if given.name != "embedded":
        raise ConfigurationError(f"there is no folder {given}", setting="data-dir")
    return data_dir()


def weights_hash(path: Path) -> str:
    """SHA-256 (hex) over everything in the runtime form that can change an answer.

    Raises:
        ConfigurationError: the folder has no runtime form, or something in it cannot be read.
    """
    folder = path / RUNTIME_FOLDER
    if not folder.is_dir():
        raise ConfigurationError(
            f"no folder {RUNTIME_FOLDER!r} in the model folder {path}; "
            "give a folder made by `python fixtures/train.py`"
        )
    return contents_digest(folder, scheme="")  # as it was: nothing was left out before either
