"""`python operator/requirements/sbom.py build/sbom.cdx.json`: what the operator is made of, as CycloneDX.

Names, versions and who needs whom come from runtime.lock, which is what the image installs, and by hash; licences from
the packages that are installed here (those for other platforms have none).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

LOCK = Path(__file__).parent / "runtime.lock"
PROJECT = "nexus-workflows"
PINNED = re.compile(r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^ \\;]+)(?: *; *(?P<marker>[^\\]+))?")
BY_WHOM = re.compile(r"^    # (?:via |  )(?P<name>[a-z0-9][a-z0-9._-]*)( \(pyproject\.toml\))?$")


@dataclass
class Locked:
    """One package of the lock file."""

    name: str
    version: str
    marker: str
    needed_by: list[str] = field(default_factory=list)


def locked(text: str) -> Iterator[Locked]:
    """Yield the packages of a lock file as `uv pip compile` writes it."""
    package: Locked | None = None
    for line in text.splitlines():
        if pinned := PINNED.match(line):
            if package is not None:
                yield package
            package = Locked(pinned["name"], pinned["version"], (pinned["marker"] or "").strip())
        elif package is not None and (needer := BY_WHOM.match(line)):
            package.needed_by.append(needer["name"])
    if package is not None:
        yield package


def bill(packages: list[Locked]) -> Bom:
    """Return the bill of materials of the operator."""
    bom = Bom()
    root = Component(
        name=PROJECT,
        version=metadata(PROJECT)["Version"],
        type=ComponentType.APPLICATION,
        bom_ref=PROJECT,
        licenses=[LicenseFactory().make_from_string(licence) for licence in _licences(PROJECT)],
    )
    bom.metadata.component = root
    components = {package.name: _component(package) for package in packages}
    bom.components.update(components.values())
    needs: dict[str, list[Component]] = {PROJECT: [], **{name: [] for name in components}}
    for package in packages:
        for needer in package.needed_by:
            needs[needer].append(components[package.name])
    for name, needed in needs.items():
        bom.register_dependency(root if name == PROJECT else components[name], needed)
    return bom


def _component(package: Locked) -> Component:
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{package.name}@{package.version}",
        purl=PackageURL("pypi", name=package.name, version=package.version),
        description=f"only where {package.marker}" if package.marker else None,
        licenses=[LicenseFactory().make_from_string(licence) for licence in _licences(package.name)],
    )


def _licences(name: str) -> list[str]:
    try:
        told = metadata(name)
    except PackageNotFoundError:
        return []
    # A licence's whole text stands in `License` now and then.
    named = told["License-Expression"] or told["License"] or ""
    if named and "\n" not in named.strip():
        return [named.strip()]
    classifiers = told.get_all("Classifier") or []
    return [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License :: OSI Approved :: ")]


def main(arguments: list[str]) -> int:
    """Write the file."""
    target = Path(arguments[0])
    packages = list(locked(LOCK.read_text("utf-8")))
    target.parent.mkdir(parents=True, exist_ok=True)
    writer = make_outputter(bill(packages), OutputFormat.JSON, SchemaVersion.V1_6)
    writer.output_to_file(str(target), allow_overwrite=True, indent=2)
    print(f"{target}: {len(packages)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
