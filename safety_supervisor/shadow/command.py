"""The verb `shadow-report`: recorded shadow drives in, the evidence for arming out; exit 0 when the rule is met."""

from __future__ import annotations

import argparse
import html
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from safety_supervisor.shadow.evidence import EvidenceError, collect
from safety_supervisor.shadow.rule import Rule, judge, reviewed

VERDICTS = ("justified", "false")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `safety-supervisor shadow-report`."""
    sources = "recorder folder, drive_*.jsonl, decisions.jsonl, or a recording with the decision topic"
    parser.add_argument("sources", metavar="SOURCE", type=Path, nargs="+", help=sources)
    parser.add_argument("--review", metavar="FILE", type=Path, help="YAML: moment -> justified or false")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write a page with a link to each moment")
    for spec in fields(Rule):
        name = spec.name.replace("_", "-")
        kind = type(spec.default)
        parser.add_argument(f"--{name}", metavar="X", type=kind, default=spec.default, help=f"default {spec.default}")


def run(args: argparse.Namespace) -> int:
    """Judge the evidence; 0 when arming is recommended, 1 when not."""
    rule = Rule(**{spec.name: getattr(args, spec.name) for spec in fields(Rule)})
    if not 0.0 < rule.confidence < 1.0:
        raise EvidenceError(f"--confidence {rule.confidence:g} must be between 0 and 1")
    for name, value in asdict(rule).items():
        if not 0 <= value < math.inf:
            raise EvidenceError(f"--{name.replace('_', '-')} {value:g} must be a finite number, 0 or more")
    drives = collect(args.sources)
    moments = reviewed(drives, _review(args.review) if args.review else {})
    result = judge(drives, moments, rule)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if args.html:
        args.html.write_text(page(result, args.html.resolve().parent), encoding="utf-8")
    print("\n".join(lines(result)))
    for file in filter(None, (args.json, args.html)):
        print(f"written  {file}")
    return 0 if result["arm"] else 1


def _review(path: Path) -> dict[str, str]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError):
        raise EvidenceError(f"{path}: not valid YAML") from None
    if not isinstance(data, Mapping):
        raise EvidenceError(f"{path}: expected a mapping of moments")
    for key, verdict in data.items():
        if verdict not in VERDICTS:
            raise EvidenceError(f"{path}: {key} = {verdict!r} must be {' or '.join(VERDICTS)}, in quotes if needed")
    return {str(key): str(verdict) for key, verdict in data.items()}


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the report for the terminal."""
    yield f"judged   {result['hours']:.2f} h, {result['km']:.1f} km in {result['drives']} drives"
    told = f"{result['justified']} justified, {result['unreviewed']} not reviewed (they count as not justified)"
    yield f"would    {result['interventions']} interventions, {told}"
    percent = 100 * result["rule"]["confidence"]
    for kind, by in result["rates"].items():
        hour, far = by["per_hour"], by["per_100km"]
        yield (f"{kind:<12} {hour['events']:>4}   per hour {_rate(hour)}   per 100 km {_rate(far)}   "
               f"(bounds at {percent:g} %)")  # fmt: skip
    for moment in result["moments"]:
        where = moment["recording"] or moment["source"]
        yield f"  {moment['key']}  {moment['mode']:<14} {moment['verdict']:<10} {moment['text'][:70]}  {where}"
    for reason in result["against"]:
        yield f"against  {reason}"
    yield "ARM: every point of the rule is met" if result["arm"] else "DO NOT ARM"


def _rate(rate: Mapping[str, Any]) -> str:
    if rate["per"] is None:
        return "unknown"
    return f"{rate['per']:.3g} [{rate['lower']:.3g}, {rate['upper']:.3g}]"


STYLE = """body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222;background:#fff}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ccc;padding:.3em .6em;text-align:left}
.no{color:#a00}.yes{color:#070}code{font-size:90%}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#111}td,th{border-color:#444}a{color:#8bf}.no{color:#f88}.yes{color:#8d8}}"""


def page(result: Mapping[str, Any], folder: Path) -> str:
    """Return the report as one page; links are relative to `folder`."""
    verdict = "Arm: every point of the rule is met" if result["arm"] else "Do not arm"
    against = "".join(f"<li>{html.escape(reason)}</li>" for reason in result["against"])
    points = ((name.replace("_", " "), value) for name, value in result["rule"].items())
    rule = "".join(f"<tr><td>{name}</td><td>{value:g}</td></tr>" for name, value in points)
    rates = "".join(
        f"<tr><td>{kind}</td><td>{by['per_hour']['events']}</td><td>{_rate(by['per_hour'])}</td>"
        f"<td>{_rate(by['per_100km'])}</td></tr>"
        for kind, by in result["rates"].items()
    )
    moments = "".join(_row(moment, folder) for moment in result["moments"])
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Shadow report</title><style>{STYLE}</style>
<h1>Shadow report</h1><p class="{'yes' if result['arm'] else 'no'}"><b>{verdict}</b></p><ul>{against}</ul>
<p>{result['hours']:.2f} h and {result['km']:.1f} km judged in {result['drives']} drives; parameters
<code>{html.escape(', '.join(p[:12] for p in result['parameters']))}</code>, certificate
<code>{html.escape(', '.join(c[:12] for c in result['certificates']))}</code>.</p>
<h2>Interventions that would have been, and are not justified</h2>
<table><tr><th>kind<th>number<th>per hour<th>per 100 km</tr>{rates}</table>
<p>Exact Poisson bounds at {100 * result['rule']['confidence']:g} %; {result['justified']} more were found justified,
{result['unreviewed']} are not reviewed and count as not justified.</p>
<h2>Moments</h2><table><tr><th>moment<th>mode<th>why<th>margin<th>speed<th>review<th>recording</tr>{moments}</table>
<h2>Rule</h2><table>{rule}</table></html>
"""


def _row(moment: Mapping[str, Any], folder: Path) -> str:
    target = moment["recording"] or moment["source"]
    link = html.escape(os.path.relpath(Path(target).resolve(), folder), quote=True)
    margin = "" if moment["margin"] is None else f"{moment['margin']:.2f} m"
    speed = "" if moment["speed"] is None else f"{moment['speed']:.1f} m/s"
    cells = (moment["key"], moment["mode"], moment["text"], margin, speed, moment["verdict"])
    told = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells)
    name = html.escape(Path(target).name)
    return f'<tr>{told}<td><a href="{link}">{name}</a><br><code>safety-supervisor replay {name}</code></td></tr>'
