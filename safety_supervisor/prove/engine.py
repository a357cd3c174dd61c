"""Decides claims: explores every path, asks the solvers, replays counterexamples, runs the controls."""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from types import FrameType
from typing import Any

import numpy as np
import z3

from safety_supervisor.core.config import Config
from safety_supervisor.prove import solvers, words
from safety_supervisor.prove.claims import VEHICLE, WITHOUT, Claim, ClaimError, Group, vehicle_value
from safety_supervisor.prove.solvers import Query
from safety_supervisor.prove.terms import Path, Term, exact, expression_of
from safety_supervisor.prove.words import LIKELY

PROVED, REFUTED, UNKNOWN, VACUOUS = "PROVED", "REFUTED", "UNKNOWN", "VACUOUS"
PATHS_MAX = 2000
FEASIBILITY_MS = 250
LIKELY_MS = 500
RANGE = re.compile(r"[\w. ]+ [<>]= \S+")
"""What `world.real` assumes by itself: a number lies in its range. All other assumptions have names."""
CORE = "safety_supervisor.core."
VOCABULARY = ("safety_supervisor.core.world",)
CASES_SEEN = 10
"""Cases of an enumerated claim that are looked at to see which functions it runs."""


@dataclass(frozen=True)
class Outcome:
    """What one run of a claim's body came to."""

    result: str
    paths: int = 0
    """Ways through the code that the assumptions allow; for an enumerated claim, the cases."""
    pruned: int = 0
    """Choices of which only one side was possible, and paths that turned out to be impossible."""
    detail: str = ""
    """Counterexample in words, or why the result is UNKNOWN or VACUOUS."""
    values: Mapping[str, Fraction] = field(default_factory=dict)
    queries: Sequence[Query] = ()
    assumptions: Sequence[str] = ()
    shown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A claim in one scope, with its controls."""

    claim: Claim
    scope: str
    outcome: Outcome
    controls: Mapping[str, Outcome]
    seconds: float

    @property
    def refuted_controls(self) -> int:
        """Controls that failed, as they must."""
        return sum(control.result == REFUTED for control in self.controls.values())

    @property
    def good(self) -> bool:
        """Proved, and every control refuted."""
        return self.outcome.result == PROVED and self.refuted_controls == len(self.controls)


def decide(claim: Claim, scope: str, config: Config) -> Result:
    """Run a claim in one scope; its controls run in its first scope only."""
    start = time.monotonic()
    outcome = _guarded(claim, scope, config, None)
    controls = {}
    if scope == claim.scopes[0]:
        controls = {text: _guarded(claim, scope, config, changes) for text, changes in claim.controls.items()}
    return Result(claim, scope, outcome, controls, time.monotonic() - start)


def _guarded(claim: Claim, scope: str, config: Config, changes: Mapping[str, Any] | None) -> Outcome:
    """Run a claim; code that does not fit into it any more is a result, not a crash of the whole run."""
    try:
        return run(claim, scope, config, changes)
    except ClaimError:
        raise
    except Exception as error:
        return Outcome(UNKNOWN, detail=f"the claim does not run on this code: {type(error).__name__}: {error}")


def run(claim: Claim, scope: str, config: Config, changes: Mapping[str, Any] | None = None) -> Outcome:
    """Decide the body of a claim, with the changes of a control if given."""
    keywords = dict(changes or {})
    without = keywords.pop(WITHOUT, None)
    if claim.exhaustive:
        return _enumerate(claim, ReplayWorld(config, scope, {}, Fraction), keywords)
    return Exploration(claim, scope, config, without, keywords).judge()


def weight_of_assumptions(claim: Claim, scope: str, config: Config, names: Sequence[str]) -> dict[str, str]:
    """Return for each assumption the result without it; PROVED means that it carries no weight."""
    return {name: _guarded(claim, scope, config, {WITHOUT: name}).result for name in names}


def code_under_proof(claim: Claim, scope: str, config: Config) -> list[str]:
    """Return the public functions of the core that a claim runs, seen along one path or in the first cases.

    Of code that does not run as the claim calls it, what ran until it stopped; `decide` says why it stopped.
    """
    found: set[str] = set()

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        module, caller = (str(f.f_globals.get("__name__", "")) if f else "" for f in (frame, frame.f_back))
        name = frame.f_code.co_name
        if (
            event == "call"
            and caller != Group.__module__
            and module.startswith(CORE)
            and name[0] not in "_<"
            and not module.startswith(VOCABULARY)
        ):
            found.add(f"{module.removeprefix(CORE)}.{name}")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        if claim.exhaustive:
            deque(islice(claim.body(ReplayWorld(config, scope, {}, Fraction)), CASES_SEEN), 0)
        else:
            claim.body(SymbolicWorld(config, scope, Path((), lambda _constraints: True), None))
    except Exception:
        return sorted(found)
    finally:
        sys.setprofile(before)
    return sorted(found)


def _enumerate(claim: Claim, world: ReplayWorld, keywords: Mapping[str, Any]) -> Outcome:
    cases, failures = 0, []
    for text in claim.body(world, **keywords):
        cases += 1
        if text:
            failures.append(text)
            if keywords:  # a control: that it fails is all there is to know
                break
    if failures:
        more = f"; and {len(failures) - 1} more" if len(failures) > 1 else ""
        return Outcome(REFUTED, cases, detail=failures[0] + more, shown=world.shown)
    if not cases:
        return Outcome(VACUOUS, detail="no case was tried")
    return Outcome(PROVED, cases, shown=world.shown)


# --- the worlds in which a claim's body runs ----------------------------------------------------------


class SymbolicWorld:
    """Numbers are terms on one path."""

    def __init__(self, config: Config, scope: str, path: Path, without: str | None) -> None:
        self.config = config
        self.scope = scope
        self.path = path
        self.without = without
        self.names: list[str] = []
        self.picked: list[str] = []
        self.assumptions: list[str] = []

    def real(self, name: str, low: Any = None, high: Any = None) -> Any:
        expression = z3.Real(name)
        term = Term(expression, self.path)
        if name not in self.names:
            self.names.append(name)
            if low is not None:
                self._add(f"{name} >= {low}", expression >= _operand(low))
            if high is not None:
                self._add(f"{name} <= {high}", expression <= _operand(high))
        return term

    def pick(self, name: str, options: Sequence[Any]) -> Any:
        chosen = z3.Real(name)  # the number of the option, so that the solver's model names it
        self.picked.append(name)
        for index, option in enumerate(options[:-1]):
            if self.path.decide(chosen == index):
                return option
        self.path.constraints.append(chosen == len(options) - 1)
        return options[-1]

    def assume(self, text: str, condition: Any) -> None:
        self._add(text, expression_of(condition))

    def _add(self, text: str, expression: Any) -> None:
        self.assumptions.append(text)
        if text != self.without:
            self.path.constraints.append(expression)

    def group(self, name: str) -> Any:
        if self.scope == VEHICLE:
            return Group(name, lambda key, _low, _high: vehicle_value(self.config, key))
        return Group(name, lambda key, low, high: self.real(key, low, high))

    def show(self, name: str, value: Any) -> None:
        """Nothing to print yet: the replay of a counterexample does."""

    def tell(self, text: str, **values: Any) -> None:
        """Nothing to tell yet either."""


def _operand(bound: Any) -> Any:
    return bound.expression if isinstance(bound, Term) else exact(bound)


class ReplayWorld:
    """Numbers are the values of a counterexample, as fractions or as floats."""

    def __init__(self, config: Config, scope: str, values: Mapping[str, Fraction], kind: Callable[[Any], Any]) -> None:
        self.config = config
        self.scope = scope
        self.shown: dict[str, str] = {}
        self.broken: list[str] = []
        self.words = ""
        self._values = values
        self._kind = kind

    def real(self, name: str, low: Any = None, high: Any = None) -> Any:
        value = self._kind(self._values[name])
        if low is not None and not value >= low:
            self.broken.append(f"{name} >= {low}")
        if high is not None and not value <= high:
            self.broken.append(f"{name} <= {high}")
        return value

    def pick(self, name: str, options: Sequence[Any]) -> Any:
        option = options[int(self._values[name])]
        self.show(name, option)
        return option

    def assume(self, text: str, condition: Any) -> None:
        if not condition:
            self.broken.append(text)

    def group(self, name: str) -> Any:
        return Group(name, lambda key, _low, _high: self._parameter(key))

    def _parameter(self, key: str) -> Any:
        return self._kind(self._values[key] if key in self._values else vehicle_value(self.config, key))

    def show(self, name: str, value: Any) -> None:
        self.shown[name] = _short(value)

    def tell(self, text: str, **values: Any) -> None:
        self.words = text.format(**{name: f"{float(value):.3g}" for name, value in values.items()})


def _short(value: Any) -> str:
    return f"{float(value):.6g}" if isinstance(value, (int, float, Fraction, np.floating)) else str(value)


# --- paths --------------------------------------------------------------------------------------------


class Exploration:
    """Every path through one claim."""

    def __init__(
        self, claim: Claim, scope: str, config: Config, without: str | None, keywords: Mapping[str, Any]
    ) -> None:
        self.claim, self.scope, self.config = claim, scope, config
        self.without, self.keywords = without, keywords
        self.queries: list[Query] = []
        self.excluded: list[Query] = []
        self.names: list[str] = []
        self.picked: list[str] = []
        self.assumptions: list[str] = []
        self.paths = 0
        self.pruned = 0
        self.possible = False
        """At least one path has been shown to have a solution."""
        self._known: dict[tuple[int, ...], tuple[str, list[Any]]] = {}
        self._seen: set[tuple[int, ...]] = set()

    def judge(self) -> Outcome:
        """Run the body once for each path and ask the solvers about each query; one failure decides."""
        scripts: deque[tuple[bool, ...]] = deque([()])
        undecided: list[str] = []
        # A control may fail in one choice of many only: breadth first comes to each of them soon.
        control = bool(self.keywords) or self.without is not None
        for _ in range(PATHS_MAX):
            if not scripts:
                return self._judged(undecided)
            path = Path(scripts.popleft() if control else scripts.pop(), self._is_feasible)
            world = SymbolicWorld(self.config, self.scope, path, self.without)
            conclusion = self.claim.body(world, **self.keywords)
            scripts.extend(path.branches)
            self._merge(world)
            for query in self._collect(path, conclusion):
                answer = solvers.solve(query.negated)
                if answer.status == "sat":
                    return self._refute(query, answer)
                if answer.status == "unknown":
                    undecided.append(query.text)
        raise ClaimError(f"{self.claim.id}: more than {PATHS_MAX} paths; split the claim")

    def _judged(self, undecided: Sequence[str]) -> Outcome:
        if self.without is not None and self.without not in self.assumptions:
            raise ClaimError(f"{self.claim.id}: a control leaves out {self.without!r}, which is not assumed")
        if not self.paths:
            return self._outcome(VACUOUS, "the assumptions contradict each other")
        if not self.possible:
            return self._outcome(UNKNOWN, "no path was shown to be possible")
        if undecided:
            return self._outcome(UNKNOWN, f"{len(undecided)} of {len(self.queries)} queries: {undecided[0]}")
        return self._outcome(PROVED)

    def _is_feasible(self, constraints: list[Any]) -> bool:
        """Tell whether the constraints may have a solution; in doubt they may: that costs time, no truth."""
        return self._status(constraints) != "unsat"

    def _status(self, constraints: list[Any]) -> str:
        key = tuple(c.get_id() for c in constraints)
        if key not in self._known:
            # The constraints are kept with the answer: Z3 hands the number of a freed expression out again.
            self._known[key] = (solvers.solve(constraints, FEASIBILITY_MS, 0).status, constraints)
        return self._known[key][0]

    def _merge(self, world: SymbolicWorld) -> None:
        self.names.extend(name for name in world.names if name not in self.names)
        self.picked.extend(name for name in world.picked if name not in self.picked)
        self.assumptions.extend(text for text in world.assumptions if text not in self.assumptions)

    def _collect(self, path: Path, conclusion: Any) -> list[Query]:
        """Return what must be proved for a path and was not met before; nothing for an impossible path."""
        never = [Query("the other choice is impossible", *found) for found in path.impossible]
        status = self._status(list(path.constraints))
        if status == "unsat":
            never.append(Query("the path is impossible", list(path.constraints), z3.BoolVal(False)))
        self.excluded += never  # found unsat already, and checked again by a second solver like the others
        self.pruned += len(never)
        if status == "unsat":
            return []
        self.possible = self.possible or status == "sat"
        self.paths += 1
        found = [Query(f"obligation: {text}", before, must) for text, before, must in path.obligations]
        named = conclusion if isinstance(conclusion, Mapping) else {"conclusion": conclusion}
        found += [Query(text, list(path.constraints), expression_of(is_so)) for text, is_so in named.items()]
        return [query for query in found if self._is_new(query)]

    def _is_new(self, query: Query) -> bool:
        key = tuple(c.get_id() for c in (*query.constraints, query.conclusion))
        if key in self._seen:
            return False
        self._seen.add(key)
        self.queries.append(query)  # which also keeps its expressions and so their numbers
        return True

    def _outcome(self, result: str, detail: str = "", values: Mapping[str, Fraction] | None = None) -> Outcome:
        queries = [*self.queries, *self.excluded]
        return Outcome(result, self.paths, self.pruned, detail, values or {}, queries, self.assumptions)

    def _refute(self, query: Query, answer: solvers.Answer) -> Outcome:
        formulas = [*query.negated, *_likely(self.names)]
        preferred = solvers.solve(formulas, LIKELY_MS, 0)
        if preferred.status == "sat":
            answer = preferred
        else:
            formulas = query.negated
        values, exactly = solvers.simplest(formulas, answer, [*self.picked, *self.names])
        fails, text = self._replay(values, Fraction)
        fails_on_floats, float_text = self._replay(values, float)
        listed = ", ".join(f"{name} = {_decimal(values[name])}" for name in self.names)
        told = "; ".join(filter(None, (f"{query.text} fails: {listed}", text or float_text)))
        if exactly and not (fails_on_floats if fails is None else fails):
            # The formula and the code disagree: a fault of the encoding, which must pass for neither result.
            return self._outcome(UNKNOWN, f"{told}; this does not replay", values)
        on = [kind for kind, failed in (("fractions", fails), ("floats", fails_on_floats)) if failed]
        how = f"replayed on {' and '.join(on)}" if on else "irrational, not replayed"
        step = "; this breaks the induction, the state need not be reachable" if self.claim.inductive else ""
        return self._outcome(REFUTED, f"{told}; {how}{step}", values)

    def _replay(self, values: Mapping[str, Fraction], kind: Callable[[Any], Any]) -> tuple[bool | None, str]:
        """Run the same body on plain numbers; return whether it fails there, and what it showed.

        None: these numbers cannot run it (fractions have no square root).
        """
        world = ReplayWorld(self.config, self.scope, values, kind)
        try:
            with np.errstate(divide="raise", invalid="raise"):
                conclusion = self.claim.body(world, **self.keywords)
        except (ArithmeticError, ValueError):
            return True, ""  # what an obligation forbids has happened
        except TypeError:
            return None, ""
        named = conclusion if isinstance(conclusion, Mapping) else {"conclusion": conclusion}
        shown = ", ".join(f"{name} = {value}" for name, value in world.shown.items())
        shown = "; ".join(filter(None, (shown, world.words or words.sentence(values))))
        broken = [text for text in world.broken if text != self.without]
        return not broken and not all(named.values()), shown


def _likely(names: Sequence[str]) -> list[Any]:
    """Return bounds that keep a counterexample to ordinary traffic."""
    bounds = [(z3.Real(name), *LIKELY[name]) for name in names if name in LIKELY]
    return [bound for x, low, high in bounds for bound in (x >= low, x <= high)]


def _decimal(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    decimal = Fraction(str(round(float(value), 9)))
    return f"{float(value):.9g}" if decimal == value else f"{value} (about {float(value):.6g})"
