"""The license is the same wherever it is named."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

TOP = Path(__file__).parents[2]


def test_package_chart_and_readme_name_the_license_of_the_file() -> None:
    assert (TOP / "LICENSE").read_text("utf-8").startswith("MIT License\n\nCopyright (c) ")
    project = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]
    assert (project["license"], project["license-files"]) == ("MIT", ["LICENSE"])
    # An SPDX expression and a classifier exclude each other (PEP 639): an index refuses a package that has both.
    assert [one for one in project["classifiers"] if one.startswith("License ::")] == []
    chart = yaml.safe_load((TOP / "charts/nexus/Chart.yaml").read_text("utf-8"))
    assert chart["annotations"]["artifacthub.io/license"] == "MIT"
    assert (TOP / "README.md").read_text("utf-8").rstrip().endswith("[MIT License](LICENSE).")
