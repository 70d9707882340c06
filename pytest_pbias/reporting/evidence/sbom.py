"""The bill of materials of the environment, in CycloneDX form."""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Sequence
from importlib.metadata import distributions
from typing import Any

from pytest_pbias.errors import ConfigurationError


def load_cyclonedx() -> None:
    """See that the library is there, before anything is worked for.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import cyclonedx.model  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            "evidence needs the CycloneDX library: pip install 'pytest-pbias[evidence]'"
        ) from None


def environment_sbom(created: datetime.datetime) -> str:
    """Every installed distribution as CycloneDX 1.6 JSON; the same for the same environment.

    Raises:
        ConfigurationError: the library is not installed.
    """
    load_cyclonedx()
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion
    from packageurl import PackageURL

    found = {}
    for one in distributions():
        name = one.metadata["Name"]
        if name:
            found[re.sub(r"[-_.]+", "-", name).lower()] = one
    bom = Bom()
    components: list[Any] = []
    for name, one in sorted(found.items()):
        purl = PackageURL("pypi", name=name, version=one.version)
        components.append(
            Component(
                name=name,
                version=one.version,
                type=ComponentType.LIBRARY,
                bom_ref=purl.to_string(),
                purl=purl,
                licenses=_licences(one.metadata.get_all("License-Expression") or []),
            )
        )
        if name == "pytest-pbias":
            bom.metadata.component = Component(
                name=name, version=one.version, type=ComponentType.APPLICATION, bom_ref="root"
            )
    bom.components.update(components)
    if bom.metadata.component is not None:
        bom.register_dependency(bom.metadata.component, components)
    bom.metadata.timestamp = created
    inventory = " ".join(component.bom_ref.value or "" for component in components)
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, inventory)
    made = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    return str(made.output_as_string(indent=2)) + "\n"


def _licences(expressions: Sequence[str]) -> list[Any]:
    """The licence that a distribution declares as an SPDX expression; none where it does not."""
    from cyclonedx.contrib.license.factories import LicenseFactory

    return [LicenseFactory().make_from_string(one) for one in expressions[:1]]
