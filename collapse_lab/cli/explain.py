"""collapse-lab explain"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from collapse_lab.cli import output

if TYPE_CHECKING:
    from collapse_lab.findings.examples import Example
    from collapse_lab.metrics._metric import Measurement, Metric

TOLD = ("value", "status", "reason", "n_images", "n_rows", "n_effective")


def explain(
    name: Annotated[str, typer.Argument(help="A metric's name; 'collapse-lab list metrics' shows them.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """What a metric means, when not to believe it, and what it reads of a planted collapse."""
    from inspect import cleandoc

    from collapse_lab.findings.examples import PLANTS, example
    from collapse_lab.metrics._metric import METRICS

    worked = example(name)  # an unknown name raises with the nearest one
    metric = METRICS[name]
    facts = {**_facts(metric), "not made to see": [kind for kind in PLANTS if kind not in metric.sees]}
    meaning = cleandoc(metric.function.__doc__ or "")
    if json:
        facts["bounds"] = metric.bounds
        readings = {"healthy": _reading(worked.healthy), "collapsed": _reading(worked.collapsed)}
        about = {"planted": worked.planted, "positions": worked.positions, **readings}
        output.print_json("metric", name=name, facts=facts, meaning=meaning, example=about)
        return
    print(f"{name}\n\n{meaning}\n")
    for fact, value in facts.items():
        print(f"{fact:16} {', '.join(value) or '–' if isinstance(value, list) else value}")
    print(f"\n{_example(worked)}")


def _facts(metric: Metric) -> dict[str, Any]:
    from collapse_lab.metrics._metric import HEADLINE

    low, high = (output.show(bound) for bound in metric.bounds)
    few = f"biased below {metric.biased_below:g} effective rows a channel" if metric.biased_below else None
    return {
        "unit": metric.unit,
        "bounds": f"{low} to {high}",
        "collapse when": metric.collapse_when or "neither: it judges nothing",
        "rows": metric.rows,
        "constant layer": output.show(metric.on_constant),
        "few rows": output.show(few),
        "headline": "yes" if metric.name in HEADLINE else "no",
        "source": metric.source,
        "made to see": list(metric.sees),
    }


def _reading(measured: Measurement) -> dict[str, Any]:
    return {name: getattr(measured, name) for name in TOLD}


def _example(worked: Example) -> str:
    lines = [f"For example, {worked.healthy.n_images} images of planted features (positions: {worked.positions}):"]
    for label, measured in (("healthy", worked.healthy), (worked.planted, worked.collapsed)):
        why = f": {measured.reason}" if measured.reason else ""
        lines.append(f"  {output.show(measured.value):>9}  {label} ({measured.status}{why})")
    return "\n".join(lines)
