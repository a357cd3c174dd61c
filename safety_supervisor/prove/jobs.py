"""One claim in one scope as a unit of work, in this process or in several; reports come back in order.

A `Report` is plain data: formulas stay in the process that made them, and go out as SMT-LIB text.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safety_supervisor.core.config import Config
from safety_supervisor.prove import claims, engine, solvers
from safety_supervisor.prove.claims import WITHOUT, Claim
from safety_supervisor.prove.engine import PROVED, REFUTED, Outcome
from safety_supervisor.prove.second_opinion import SecondOpinion

Unit = tuple[str, str]
"""Claim id and scope."""


@dataclass(frozen=True)
class Options:
    """What is wanted besides the result."""

    smt2: bool = False
    second: bool = False
    ablation: bool = False
    witnesses: bool = False


@dataclass(frozen=True)
class Report:
    """All there is to say about a claim in one scope."""

    claim: str
    title: str
    basis: str
    scope: str
    exhaustive: bool
    outcome: Outcome
    controls: Mapping[str, Outcome]
    seconds: float
    code: Sequence[str] = ()
    """Functions of the core that the claim ran."""
    queries: int = 0
    smt2: Sequence[str] = ()
    """The queries of a proved claim, where they were asked for."""
    checks: Mapping[str, int] = field(default_factory=dict)
    """Number of queries by what cvc5 says: confirmed, undecided, contradicted."""
    contradicted: Sequence[str] = ()
    weights: Mapping[str, str] = field(default_factory=dict)
    """Result without each assumption."""
    witness: Sequence[Mapping[str, Any]] | None = None
    """The queries with their witnesses, as they go into a file."""
    unwitnessed: int = 0
    """Cases for which no witness was found."""
    inductive: bool = False
    """A counterexample need not be reachable."""

    @property
    def refuted_controls(self) -> int:
        """Controls that failed, as they must."""
        return sum(control.result == REFUTED for control in self.controls.values())

    @property
    def good(self) -> bool:
        """Proved, every control refuted, and no second solver says otherwise."""
        proved = self.outcome.result == PROVED and not self.contradicted
        return proved and self.refuted_controls == len(self.controls)


def examine(claim: Claim, scope: str, config: Config, options: Options, second: SecondOpinion) -> Report:
    """Decide a claim in one scope and do what the options ask for."""
    result = engine.decide(claim, scope, config)
    outcome = result.outcome
    asked = outcome.queries if outcome.result == PROVED and (options.smt2 or options.second) else ()
    texts = [solvers.smt2(query) for query in asked]
    said = [second.ask(text) for text in texts] if options.second else []
    weights = _weights(claim, scope, config, outcome, result.controls, options)
    witness, unwitnessed = None, 0
    if options.witnesses and outcome.result == PROVED and scope == claim.scopes[-1] and not claim.exhaustive:
        from safety_supervisor.prove import witnesses  # the only use of linear programming

        witness, unwitnessed = witnesses.of_queries(outcome.queries)
    return Report(
        claim.id, claim.title, claim.basis, scope, claim.exhaustive, _plain(outcome),
        {text: _plain(control) for text, control in result.controls.items()}, result.seconds,
        engine.code_under_proof(claim, scope, config), len(outcome.queries), texts if options.smt2 else (),
        dict(Counter(said)), [q.text for q, s in zip(asked, said, strict=False) if s == "contradicted"], weights,
        witness, unwitnessed, claim.inductive,
    )  # fmt: skip


def _weights(
    claim: Claim, scope: str, config: Config, outcome: Outcome, controls: Mapping[str, Outcome], options: Options
) -> dict[str, str]:
    """Return the results without each assumption: of the named ones in the first scope, of all with `ablation`."""
    if outcome.result != PROVED or claim.exhaustive or not (options.ablation or scope == claim.scopes[0]):
        return {}
    names = [name for name in outcome.assumptions if options.ablation or not engine.RANGE.fullmatch(name)]
    alone = {changes[WITHOUT]: text for text, changes in claim.controls.items() if set(changes) == {WITHOUT}}
    known = {name: controls[alone[name]].result for name in names if name in alone and alone[name] in controls}
    rest = [name for name in names if name not in known]
    asked = engine.weight_of_assumptions(claim, scope, config, rest)
    return {name: known.get(name) or asked[name] for name in names}


def _plain(outcome: Outcome) -> Outcome:
    return replace(outcome, queries=())


def examine_all(
    chosen: Sequence[Claim], folder: Path, config: Config, options: Options, processes: int
) -> Iterator[Report]:
    """Yield a report for each claim and scope, in order of the claims; with several processes, from these."""
    units = [(claim.id, scope) for claim in chosen for scope in claim.scopes]
    if processes == 1:
        by_id = {claim.id: claim for claim in chosen}
        with SecondOpinion() as second:
            for id_, scope in units:
                yield examine(by_id[id_], scope, config, options, second)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the state of Z3
    pool = ProcessPoolExecutor(min(processes, len(units)), context, _prepare, (folder, config, options))
    try:
        yield from pool.map(_serve, units)
    finally:
        pool.shutdown(cancel_futures=True)


# --- inside a worker --------------------------------------------------------------------------------------------------

_worker: tuple[Mapping[str, Claim], Config, Options] | None = None


def _prepare(folder: Path, config: Config, options: Options) -> None:
    global _worker
    _worker = ({claim.id: claim for claim in claims.load(folder)}, config, options)


def _serve(unit: Unit) -> Report:
    if _worker is None:
        raise RuntimeError("a worker was not prepared")
    by_id, config, options = _worker
    with SecondOpinion() as second:
        return examine(by_id[unit[0]], unit[1], config, options, second)
