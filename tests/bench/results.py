"""A row of the benchmark, the table that is printed, and build/bench.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One figure. `floor` is what the same work costs without NEXUS, measured in the same run; `target` bounds the
    ratio where `by_ratio`, else the value: it is the most, or the `least`, that it may be. `ok` is None where there is
    no target."""

    name: str
    value: float
    unit: str
    floor: float | None = None
    target: float | None = None
    by_ratio: bool = False
    least: bool = False

    @property
    def ratio(self) -> float | None:
        """Value over floor."""
        return self.value / self.floor if self.floor else None

    @property
    def ok(self) -> bool | None:
        """Whether the target is met."""
        measured = self.ratio if self.by_ratio else self.value
        if self.target is None or measured is None:
            return None
        return measured >= self.target if self.least else measured <= self.target

    @property
    def bound(self) -> str:
        """The target in words."""
        if self.target is None:
            return ""
        return f"{'ratio ' if self.by_ratio else ''}{'>=' if self.least else '<='} {self.target:g}"

    def as_json(self) -> dict[str, object]:
        """The row as build/bench.json holds it."""
        target = self.bound if self.by_ratio or self.least else self.target
        fields = asdict(self) | {"ratio": round(self.ratio, 3) if self.ratio else None, "target": target, "ok": self.ok}
        return {name: fields[name] for name in ("name", "value", "unit", "floor", "ratio", "target", "ok")}


def table(rows: list[Row]) -> str:
    """The rows as text, aligned."""
    lines = [("name", "value", "unit", "floor", "ratio", "target", "ok")]
    lines += [
        (
            row.name,
            f"{row.value:.3g}" if row.value < 100 else f"{row.value:.0f}",
            row.unit,
            "" if row.floor is None else f"{row.floor:.3g}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            row.bound,
            {True: "yes", False: "NO", None: ""}[row.ok],
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(7)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def write(rows: list[Row], path: Path) -> None:
    """Write build/bench.json: a list of objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.as_json() for row in rows], indent=2) + "\n", encoding="utf-8")
