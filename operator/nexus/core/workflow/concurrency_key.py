"""concurrency.key: its value for a run, which says in whose line the run is."""

from __future__ import annotations

from nexus.core.data.params import resolve
from nexus.core.data.scope import RUN_VARIABLES, param_variables, run_values
from nexus.core.expressions.render import Renderer
from nexus.core.expressions.templates import Evaluator, as_text
from nexus.core.model.facts import RunFact
from nexus.core.names import digest
from nexus.core.workflow.facts import RunPolicy

LONGEST = 200
"""Maximum length of a value, in characters; a longer one ends in a hash, so that values stay apart."""


def concurrency_key(policy: RunPolicy, run: RunFact, evaluator: Evaluator) -> str:
    """Return the value for a run, empty where the Workflow has no key. Raises ParamsInvalid, ExpressionError and
    TemplateError."""
    if policy.key is None:
        return ""
    params = resolve(policy.params, run.params, run, evaluator)
    values = {
        "params": params,
        **{f"params.{name}": value for name, value in params.items()},
        **{f"run.{name}": value for name, value in run_values(run, "Running").items()},
    }
    variables = {**param_variables(policy.params), **RUN_VARIABLES}
    renderer = Renderer(evaluator, variables, values.__getitem__, run.time_zone)
    text = as_text(renderer.field(policy.key, "concurrency.key"))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 20]}-{digest(text)}"
