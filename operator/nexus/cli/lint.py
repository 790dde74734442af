"""`nexus lint`: everything that can be known about files without a cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from nexus.cli.ending import Exit, UsageError
from nexus.cli.located import Located
from nexus.cli.manifests import Manifest, load, read_text
from nexus.cli.syntax import NO_BASH, check_code
from nexus.cli.terminal import say, say_json
from nexus.core.expressions.templates import Evaluator

SUFFIXES = (".yaml", ".yml")


def lint(
    names: Sequence[str], evaluator: Evaluator, *, as_json: bool, strict: bool = False, hints: bool = False
) -> Exit:
    """Check files, folders and `-`; print problems and warnings, with `hints` redundant dependencies too. Warnings
    change the exit status only where `strict`. Raises UsageError for what cannot be read."""
    found: list[Located] = []
    warnings: list[Located] = []
    workflows, unchecked, has_bash = 0, False, True
    files = list(_files(names))
    texts = [("<stdin>" if file == "-" else file, read_text(file)) for file in files]
    for source, text in texts:
        manifest = load(text, source, evaluator)
        has_bash = check_code(manifest) and has_bash
        workflows += len(manifest.workflows) + sum(run.workflow_spec is not None for run in manifest.runs)
        unchecked = unchecked or manifest.unchecked
        if hints and not manifest.problems:
            _hint(manifest)
        found += sorted([*manifest.problems, *_params(manifest, evaluator)])
        warnings += sorted(manifest.warnings)
    if not has_bash:
        say(f"nexus: {NO_BASH}", to=sys.stderr)
    order = {source: position for position, (source, _) in enumerate(texts)}
    if as_json:
        result = {"files": len(files), "workflows": workflows, "problems": [problem.to_json() for problem in found]}
        result["warnings"] = [warning.to_json() for warning in warnings]
        say_json(result)
    else:
        for problem in sorted([*found, *warnings], key=lambda each: (order[each.source], each)):
            say(str(problem))
        counts = [_count(len(files), "file"), _count(workflows, "workflow"), _count(len(found), "problem")]
        counts += [_count(len(warnings), "warning")] if warnings else []
        say(", ".join(counts) + ("; remaining checks skipped, fix these errors first" if unchecked else ""))
    return Exit.FAILED if found or (strict and warnings) else Exit.SUCCEEDED


def _hint(manifest: Manifest) -> None:
    from nexus.core.validate.dependencies import redundant_dependencies

    for document, place, spec in manifest.definitions:
        manifest.warn(document, redundant_dependencies(spec), *place)
    manifest.order()


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _files(names: Iterable[str]) -> Iterator[str]:
    """Yield the files that are meant: of folders, all manifests below them. Raises Refused."""
    for name in names:
        path = Path(name)
        if name == "-" or not _is_folder(path):
            yield name
            continue
        found = [file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file()]
        charts = {file.parent for file in found if file.name == "Chart.yaml"}
        inside = sorted(str(file) for file in found if not any(_of_chart(file, chart) for chart in charts))
        if not inside:
            raise UsageError(f"{name}: no .yaml or .yml file found in this folder")
        yield from inside


def _is_folder(path: Path) -> bool:
    """Return whether a path is a folder; False for an inaccessible one, which is reported when it is read."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _of_chart(file: Path, chart: Path) -> bool:
    """Return whether a file is helm's own: what it makes manifests of, which is none (templates are not even YAML)."""
    if not file.is_relative_to(chart):
        return False
    first, *below = file.relative_to(chart).parts
    return first == "templates" if below else first == "Chart.yaml" or first.startswith("values")


def _params(manifest: Manifest, evaluator: Evaluator) -> Iterator[Located]:
    """Yield the params of each WorkflowRun whose definition is in the file too."""
    if not manifest.runs:
        return
    from nexus.core.data.params import ParamsInvalid, resolve
    from nexus.core.model.facts import RunFact

    for run in manifest.runs:
        definition = manifest.definition(run)
        if definition is None or run.spec is None:
            continue
        fact = RunFact("default", "lint", "lint", datetime.now(UTC), params=run.spec.params or {})
        try:
            resolve(definition.params or (), fact.params, fact, evaluator)
        except ParamsInvalid as error:
            yield from (manifest.locate(problem, run.document, "spec") for problem in error.problems)
