"""Pages of the documentation site that are made from the code: a MkDocs hook, and importable by tests.

What stands in two places drifts. Parameters, command line and diagrams come from the declarations, parsers, imports and
tables themselves; README and the other files of the root are shown where they are.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import html
import io
import itertools
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from safety_supervisor import cli  # noqa: E402 - the source tree, not an installed copy
from safety_supervisor.core.arbitration import DEMANDS, REQUIRED, Facts, next_mode  # noqa: E402
from safety_supervisor.core.world import Mode, Severity  # noqa: E402

SHOWN = {
    "readme.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "quality.md": "QUALITY_DECLARATION.md",
    "ledger.md": "proofs/LEDGER.md",
}
"""Page -> file of the source tree."""
PAGE_OF = {file: page for page, file in SHOWN.items()}


# --- the pages ------------------------------------------------------------------------------------------------------


def pages() -> dict[str, str]:
    """Return every generated page by its name."""
    made = {page: (ROOT / file).read_text(encoding="utf-8") for page, file in SHOWN.items()}
    made["parameters.md"] = parameters()
    made["commands.md"] = commands()
    made["diagrams.md"] = diagrams()
    return made


def parameters() -> str:
    """Return the parameter reference: one table a group."""
    head, rule, *rows = cli.parameter_table()
    groups = itertools.groupby(rows, key=lambda row: row.split("`")[1].rpartition(".")[0])
    origin = "Made from the declarations in `core/config.py`; loader, node and proofs read the same ranges."
    text = ["# Parameters", "", origin]
    for group, members in groups:
        text += ["", f"## {group}".replace("<", "&lt;"), "", head, rule, *members]
    return "\n".join(text) + "\n"


def commands() -> str:
    """Return the help page of every verb."""
    text = ["# Command line", "", "The help pages of `safety-supervisor`, as it prints them."]
    for words in (["--help"], *([verb.name, "--help"] for verb in cli.VERBS)):
        said = io.StringIO()
        with contextlib.redirect_stdout(said), _columns(100):
            cli.main(words)
        title = words[0] if len(words) > 1 else "safety-supervisor"
        text += ["", f"## {title}", "", "```", said.getvalue().rstrip(), "```"]
    return "\n".join(text) + "\n"


@contextlib.contextmanager
def _columns(width: int) -> Iterator[None]:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(width)
    try:
        yield
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before


def diagrams() -> str:
    """Return the layers with their imports, and the table of the arbitration with its transitions."""
    text = ["# Diagrams from the code", "", "## Modules and their imports", "",
            "Made from the import statements. Imports point downwards only; `test/test_layers.py` holds it.", "",
            layers_picture(), "", "## What each state of demand and trust requires", "",
            "Made from `arbitration.REQUIRED`: the mode that a demand (rows) and the trust in the inputs (columns) ask "
            "for.", "", *required_table(), "", "## Transitions", "",
            "Made by calling `arbitration.next_mode` on every case: the modes that can follow a mode.", "",
            *transition_table()]  # fmt: skip
    return "\n".join(text) + "\n"


def required_table() -> list[str]:
    """Return `REQUIRED` as a table."""
    head = "| demand | " + " | ".join(s.name for s in Severity) + " |"
    rows = [f"| {d.name} | " + " | ".join(REQUIRED[d, s].name for s in Severity) + " |" for d in DEMANDS]
    return [head, "|---" * (len(Severity) + 1) + "|", *rows]


def transitions() -> dict[Mode, set[Mode]]:
    """Return what can follow each mode, from every case of `next_mode`."""
    flags = list(itertools.product((False, True), repeat=4))
    found: dict[Mode, set[Mode]] = {mode: set() for mode in Mode}
    for mode, latched, demand, severity, (driver, standstill, release, dwelt) in itertools.product(
        Mode, (False, True), DEMANDS, Severity, flags
    ):
        found[mode].add(next_mode(mode, latched, Facts(demand, severity, driver, standstill, release, dwelt))[0])
    return found


def transition_table() -> list[str]:
    """Return `transitions` as a table."""
    found = transitions()
    head = "| from \\ to | " + " | ".join(m.name for m in Mode) + " |"
    rows = [f"| {m.name} | " + " | ".join("x" if n in found[m] else "" for n in Mode) + " |" for m in Mode]
    return [head, "|---" * (len(Mode) + 1) + "|", *rows]


# --- the picture of the layers --------------------------------------------------------------------------------------

BOX, GAP, ROW = 108, 10, 92


def rows() -> list[tuple[str, list[str]]]:
    """Return the layers from the top with their modules; the tables of the test say which module is where."""
    sys.path.insert(0, str(ROOT / "test"))
    import test_layers

    names = {2: "estimation", 1: "physics", 0: "vocabulary", 3: "judgement", 4: "the tick"}
    core = [(f"{n} {names[n]}", [m for m, layer in test_layers.LAYERS.items() if layer == n]) for n in (4, 3, 2, 1, 0)]
    edges = sorted(e for e in test_layers.EDGES if (ROOT / "safety_supervisor" / e).is_dir())
    return [("edges", [*edges, "cli"]), ("shared", sorted(test_layers.SHARED)), *core]


def imports(module: str) -> set[str]:
    """Return the modules of the picture that a module or folder imports."""
    folder = ROOT / "safety_supervisor"
    place = next(p for p in (folder / "core" / module, folder / module) if p.is_dir() or p.with_suffix(".py").exists())
    files = list(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    known = {m for _, modules in rows() for m in modules}
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("safety_supervisor"):
                parts = [*(node.module or "").split("."), *(a.name for a in node.names)]
                found |= {p for p in parts if p in known}
    return found - {module}


def layers_picture() -> str:
    """Return the picture as SVG text; an edge is an import, drawn from the lower side of a box to the upper one."""
    layout = rows()
    width = max(len(modules) for _, modules in layout) * (BOX + GAP) + 130
    place = {m: (120 + i * (BOX + GAP), 14 + r * ROW) for r, (_, modules) in enumerate(layout)
             for i, m in enumerate(modules)}  # fmt: skip
    height = len(layout) * ROW
    parts = [f'<svg viewBox="0 0 {width} {height}" width="100%" role="img" aria-label="modules by layer" '
             'xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="12">']  # fmt: skip
    for module, (x, y) in place.items():
        for target in sorted(imports(module)):
            tx, ty = place[target]
            if ty > y:
                parts.append(f'<path d="M{x + BOX / 2},{y + 34} C{x + BOX / 2},{y + 60} {tx + BOX / 2},{ty - 26} '
                             f'{tx + BOX / 2},{ty}" fill="none" stroke="#7a8ca5" stroke-opacity="0.45"/>')  # fmt: skip
    for r, (title, modules) in enumerate(layout):
        parts.append(f'<text x="4" y="{14 + r * ROW + 21}" fill="#444">{html.escape(title)}</text>')
        for module in modules:
            x, y = place[module]
            fill = "#e3f0e3" if r > 1 else "#e6ecf5"
            parts.append(f'<rect x="{x}" y="{y}" width="{BOX}" height="34" rx="5" fill="{fill}" stroke="#5b6b80"/>'
                         f'<text x="{x + BOX / 2}" y="{y + 21}" text-anchor="middle">{html.escape(module)}</text>')
    return "".join([*parts, "</svg>"])


# --- MkDocs ---------------------------------------------------------------------------------------------------------


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links out of docs/ to the page that shows the file, and others to plain text."""
    source = SHOWN.get(page.file.src_uri)
    base = (ROOT / source).parent if source else (ROOT / "docs" / page.file.src_uri).parent
    name = page.file.src_uri
    return re.sub(r"\[([^\]]+)\]\(((?!https?:|#|mailto:)[^)\s]+)\)", lambda m: _link(m, base, name), markdown)


def _link(match: re.Match[str], base: Path, page: str) -> str:
    text, target = match.group(1), match.group(2)
    path, _, anchor = target.partition("#")
    file = Path(os.path.normpath(base / path)) if path else base
    tail = f"#{anchor}" if anchor else ""
    here = Path(page).parent
    with contextlib.suppress(ValueError):
        name = file.relative_to(ROOT).as_posix()
        if name in PAGE_OF:
            return f"[{text}]({os.path.relpath(PAGE_OF[name], here)}{tail})"
        if name.startswith("docs/") and file.suffix in (".md", ".json"):
            return f"[{text}]({os.path.relpath(name.removeprefix('docs/'), here)}{tail})"
    generated = (here / path).as_posix()
    return match.group(0) if generated in pages_names() else f"{text} (`{path}` in the source tree)"


def pages_names() -> set[str]:
    """Return the names of the generated pages."""
    return {*SHOWN, "parameters.md", "commands.md", "diagrams.md"}


def main() -> None:
    """Print one generated page: `python docs/site/generate.py parameters.md`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("page", choices=sorted(pages_names()))
    print(pages()[parser.parse_args().page], end="")


if __name__ == "__main__":
    main()
