"""Break the proved functions one place at a time; every mutant must be REFUTED by some claim.

    python benchmarks/mutants.py [--part K/N] [FUNCTION ...]

Each operator, operand, constant, sign, `maximum`, `minimum`, comparison and argument order of `core/envelopes.py`,
`core/motion.py` and `core/arbitration.py` is changed, in the latter each condition, mode and branch too, to the unsafe
and to the safe side alike. A mutant that no claim tells from the original is printed, and the exit code is 1. Those in
EQUIVALENT compute the same; each entry says why.
"""

from __future__ import annotations

import ast
import copy
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from safety_supervisor import core, vehicle_file
from safety_supervisor.core import arbitration, envelopes, motion
from safety_supervisor.core.config import Config
from safety_supervisor.core.world import Mode, Severity
from safety_supervisor.prove import claims, engine, solvers
from safety_supervisor.prove.claims import Claim

PROOFS = vehicle_file.share_dir("proofs")
SOURCES = {name: Path(m.__file__).read_text(encoding="utf-8") for name, m in
           (("motion", motion), ("envelopes", envelopes), ("arbitration", arbitration))}  # fmt: skip
SWAPS = {ast.Add: (ast.Sub, ast.Mult), ast.Sub: (ast.Add,), ast.Mult: (ast.Add, ast.Div), ast.Div: (ast.Mult,)}
COMPARISONS = {ast.Gt: (ast.Lt,), ast.Lt: (ast.Gt,), ast.GtE: (ast.Lt,), ast.LtE: (ast.Gt,), ast.Eq: (ast.NotEq,),
               ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,)}  # fmt: skip
EDGES = {ast.Gt: ast.GtE, ast.Lt: ast.LtE, ast.GtE: ast.Gt, ast.LtE: ast.Lt}
"""In a table the edge itself counts; a margin is as good on either side of it."""
ENUMS = {"Mode": Mode, "Severity": Severity}
TABLE = "the tables"
"""Stands for what is outside of functions."""
JUDGES = {
    "braking_distance": ("LON-6", "OPP-2"), "fallback_distance": ("FALL-4", "FALL-1"), "_doubling": ("NEAR-1",),
    "fallback_duration": ("FALL-4",), "_bounds": ("FALL-4", "LON-7", "LON-6"), "_delay": ("FALL-4",),
    "speed_for_distance": ("FALL-7",), "oncoming_distance": ("APP-1",), "oncoming_stop": ("OPP-1",),
    "class_distance": ("CLS-1",), "lateral_distance": ("LAT-5",), "largest_closing": ("TTC-1", "TTC-2"),
    "grip_left": ("GRIP-1", "GRIP-2"), "stop_acceleration": ("STOP-1", "STOP-2"), "path_margin": ("APP-3",),
    "longitudinal_margin": ("LON-6", "LON-1", "LON-8"), "oncoming_margin": ("APP-2",), "opposite_margin": ("OPP-3",),
    "lateral_margin": ("LAT-5", "LAT-3"), "separation_margin": ("SEP-1",), "crossing_margin": ("CRS-1",),
    "ttc_margin": ("TTC-1", "TTC-2"), "near_field_margin": ("NEAR-1",), "clear_distance_margin": ("APP-6",),
    "upper_speed": ("UNC-5",), "worst_end": ("UNC-1",), "_ego_distance": ("APP-6",), "_ego_duration": ("APP-2",),
    "_coming": ("APP-2",), "next_mode": ("ARB-1", "ARB-2", "ARB-4", "ARB-8", "ARB-11"), TABLE: ("ARB-10", "ARB-12"),
    "_from_standstill": ("ARB-2", "ARB-4", "ARB-9", "ARB-11"), "arbitrate": ("ARB-12",), "_debounced": ("ARB-12",),
    "rebased": ("ARB-13",),
}  # fmt: skip
"""The claims that are asked first; whatever they let through goes to all the others."""
EQUIVALENT = {
    "largest_closing: np.where(top_inside, -a, 1): 1 -> 2": "only keeps the side not taken from dividing by 0",
    "speed_for_distance: fallback_distance(0, response, a, brake, jerk): 0 -> -1": "a negative speed counts as 0",
    "speed_for_distance: _delay(response, a, brake, jerk): arguments 1 and 2 swapped": "only their sum counts",
    "_bounds: _delay(response, a, brake, jerk): arguments 1 and 2 swapped": "only their sum counts",
    "largest_closing: np.minimum(v, -a * horizon - v) > 0: GtE": "the pieces join without a step (TTC-4)",
    f"{TABLE}: Mode.NOMINAL: INIT": "what is demanded is at least NOMINAL, which is more than INIT",
    "next_mode: Mode.NOMINAL: INIT": "what is required is at least NOMINAL, which is more than INIT",
    "next_mode: wanted >= mode: edge": "both branches return the same mode there",
    "_debounced: 1:: 1 -> 0": "a demand of NOMINAL is always there and asks for nothing",
}


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield (what was changed, the new node)."""
    if isinstance(node, ast.BinOp):
        for other in SWAPS[type(node.op)]:
            yield other.__name__, ast.BinOp(node.left, other(), node.right)
        yield "left alone", node.left
        yield "right alone", node.right
        if isinstance(node.op, (ast.Sub, ast.Div)):
            yield "operands swapped", ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.UnaryOp):
        yield "sign dropped", node.operand
    elif isinstance(node, ast.Compare):
        for other in COMPARISONS[type(node.ops[0])]:
            yield other.__name__, ast.Compare(node.left, [other()], node.comparators)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield "one more", ast.Constant(node.value + 1)
        yield "one less", ast.Constant(node.value - 1)
    elif isinstance(node, ast.Call):
        yield from _calls(node)


def choices(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield what else a table may decide by, as `changes` does."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in EDGES:
        yield "edge", ast.Compare(node.left, [EDGES[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield "or" if isinstance(node.op, ast.And) else "and", ast.BoolOp(_other(node.op), node.values)
        for i in range(len(node.values)):
            left = [v for k, v in enumerate(node.values) if k != i]
            yield f"without {ast.unparse(node.values[i])}", left[0] if len(left) == 1 else ast.BoolOp(node.op, left)
    elif isinstance(node, ast.IfExp):
        yield from (("first branch", node.body), ("second branch", node.orelse),
                    ("branches swapped", ast.IfExp(node.test, node.orelse, node.body)))  # fmt: skip
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "the opposite", ast.Constant(not node.value)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ENUMS:
        members = list(ENUMS[node.value.id].__members__)
        at = members.index(node.attr)
        for other in members[max(at - 1, 0) : at] + members[at + 1 : at + 2]:
            yield other, ast.Attribute(node.value, other, ast.Load())
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "max":
        yield "min", ast.Call(ast.Name("min", ast.Load()), node.args, node.keywords)
        if len(node.args) == 2:
            yield from (("first alone", node.args[0]), ("second alone", node.args[1]))


def _other(op: ast.boolop) -> ast.boolop:
    return ast.Or() if isinstance(op, ast.And) else ast.And()


def _calls(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    for i in range(len(node.args) - 1):
        args = list(node.args)
        args[i], args[i + 1] = args[i + 1], args[i]
        name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
        if name not in ("maximum", "minimum", "max"):
            yield f"arguments {i} and {i + 1} swapped", ast.Call(node.func, args, node.keywords)
    if isinstance(node.func, ast.Attribute) and node.func.attr in ("maximum", "minimum"):
        other = {"maximum": "minimum", "minimum": "maximum"}[node.func.attr]
        yield other, ast.Call(ast.Attribute(node.func.value, other, ast.Load()), node.args, [])
        yield "first alone", node.args[0]
        yield "second alone", node.args[1]


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, new: ast.AST) -> None:
        self.target, self.new = target, new

    def visit(self, node: ast.AST) -> ast.AST:
        return copy.deepcopy(self.new) if node is self.target else super().generic_visit(node)


def mutants(module: str) -> Iterator[tuple[str, str, ast.Module]]:
    """Yield (function, text, module) for each change."""
    of_a_table = module == "arbitration"
    names = [f.name for f in ast.parse(SOURCES[module]).body if isinstance(f, ast.FunctionDef)]
    for function in [TABLE, *names] if of_a_table else names:
        count = len(list(_places(ast.parse(SOURCES[module]), function)))
        for index in range(count):
            tree = ast.parse(SOURCES[module])
            node = list(_places(tree, function))[index]
            for text, new in [*changes(node), *(choices(node) if of_a_table else ())]:
                fresh = ast.parse(SOURCES[module])
                target = list(_places(fresh, function))[index]
                mutant = ast.fix_missing_locations(_Replace(target, new).visit(fresh))
                what = f"{node.value} -> {ast.unparse(new)}" if isinstance(node, ast.Constant) else text
                yield function, f"{function}: {_context(tree, node)}: {what}", mutant


def _places(tree: ast.Module, function: str) -> Iterator[ast.AST]:
    if function == TABLE:
        body: list[Any] = [s.value for s in tree.body if isinstance(s, (ast.Assign, ast.AnnAssign)) and s.value]
    else:
        body = next(f.body for f in tree.body if isinstance(f, ast.FunctionDef) and f.name == function)
    for statement in body:
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            yield from (n for n in ast.walk(statement) if isinstance(n, ast.expr))


def _context(tree: ast.Module, node: ast.AST) -> str:
    """Return the source of a node; of a constant, that of the call or sum it stands in."""
    if not isinstance(node, ast.Constant):
        return ast.unparse(node)
    around = [n for n in ast.walk(tree) if any(child is node for child in ast.iter_child_nodes(n))]
    return ast.unparse(around[0])


def install(module: str, tree: ast.Module) -> None:
    """Let the core consist of the mutant; `motion` first, because `envelopes` imports from it."""
    for name in SOURCES:
        made = types.ModuleType(f"safety_supervisor.core.{name}")
        sys.modules[made.__name__] = made
        code = tree if name == module else ast.parse(SOURCES[name])
        exec(compile(code, f"mutant of {name}", "exec"), made.__dict__)
        setattr(core, name, made)


def killer(function: str, config: Config, wanted: Callable[[Claim], bool]) -> str | None:
    """Return the first of the wanted claims that tells the present code from the original, those in JUDGES first."""
    found = {c.id: c for c in claims.load(PROOFS) if wanted(c)}
    first = [id_ for id_ in JUDGES.get(function, ()) if id_ in found]
    for id_ in [*first, *(id_ for id_ in found if id_ not in first)]:
        for scope in reversed(found[id_].scopes):
            outcome = engine._guarded(found[id_], scope, config, None)
            if outcome.result == engine.REFUTED or "does not run on this code" in outcome.detail:
                return id_
    return None


def about(enumerations: bool) -> Callable[[Claim], bool]:
    """Return which claims speak: enumerations about arbitration, all others about margins; STOP-5 about both."""
    return lambda c: c.exhaustive == enumerations or c.id == "STOP-5"


def main(argv: list[str]) -> int:
    """Run the mutants asked for; 1 when one survives."""
    warnings.simplefilter("ignore", RuntimeWarning)  # a mutant may divide by 0
    solvers.NLSAT_MS = solvers.DEFAULT_MS = 2000  # an undecided claim catches nothing: on to the next one
    part, parts = 0, 1
    if argv[:1] == ["--part"]:
        part, parts = map(int, argv[1].split("/"))
        argv = argv[2:]
    config = vehicle_file.load(vehicle_file.vehicles()["passenger_car"])
    every = [(module, *mutant) for module in SOURCES for mutant in mutants(module)]
    chosen = [m for i, m in enumerate(every) if i % parts == part and (not argv or m[1] in argv)]
    survivors = 0
    for module, function, text, tree in chosen:
        if text in EQUIVALENT:
            continue
        install(module, tree)
        by = killer(function, config, about(enumerations=module == "arbitration"))
        survivors += by is None
        print(f"{by or 'SURVIVES':10} {text}", flush=True)
    print(f"{len(chosen)} mutants, {survivors} survive")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
