"""cvc5 as a second solver, in a process of its own: it does not always keep its time limit."""

from __future__ import annotations

import importlib.metadata
import multiprocessing
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

SECONDS = 1.0
"""For one query; nearly all that cvc5 can decide takes a tenth of it."""


class SecondOpinion:
    """Asks cvc5 about SMT-LIB text; use it in a `with` statement."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Connection | None = None

    def __enter__(self) -> SecondOpinion:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def ask(self, text: str) -> str:
        """Return confirmed (unsat), contradicted (sat) or undecided."""
        if self._pipe is None:
            self._pipe = self._start()
        self._pipe.send(text)
        if not self._pipe.poll(SECONDS):
            self._stop()
            return "undecided"
        said = self._pipe.recv()
        return {"unsat": "confirmed", "sat": "contradicted"}.get(said, "undecided")

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")  # a fork would copy the state of Z3
        ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        ours.recv()  # ready: its start does not count against the first query
        return ours

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process, self._pipe = None, None


def _serve(pipe: Connection) -> None:
    import cvc5

    pipe.send("ready")
    while True:
        try:
            text = pipe.recv()
        except EOFError:
            return
        pipe.send(_check(cvc5, text))


def _check(cvc5: Any, text: str) -> str:
    solver = cvc5.Solver(cvc5.TermManager())
    parser = cvc5.InputParser(solver)
    parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, text, "query")
    symbols = parser.getSymbolManager()
    answer = "unknown"
    while not (command := parser.nextCommand()).isNull():
        said = str(command.invoke(solver, symbols)).strip()
        answer = said if said in ("sat", "unsat") else answer
    return answer


def version() -> str:
    """Return the version of cvc5."""
    return importlib.metadata.version("cvc5")
