"""What a file in proofs/ imports: how a claim is written down. No solver is needed to read one.

A claim is a function of a `World`. It declares the numbers that may be anything (`world.real`), names its
assumptions (`world.assume`), calls the function under proof and returns the conclusion: a condition, or
several by name. The same body runs three times: on terms for the proof, on exact fractions and on floats to
replay a counterexample. Each control changes one thing, a keyword of the body or an assumption left out
(`WITHOUT`), and must be REFUTED: it shows that the claim can fail.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from safety_supervisor.core.config import GROUPS, Config, ConfigError, parameters
from safety_supervisor.prove.duals import Dual as Dual
from safety_supervisor.prove.duals import rate_of as rate_of
from safety_supervisor.prove.terms import implies as implies

RANGES = "any parameters"
"""Scope: every parameter may have any value in its declared range."""
VEHICLE = "this vehicle"
"""Scope: the parameters of one vehicle file, as exact values of the floats that run."""
WITHOUT = "without"
"""Key of a control: leave out the assumption with this text."""


class ClaimError(ConfigError):
    """A claim file that cannot be used; the text names file and reason, one line on the command line."""


class World(Protocol):
    """What a claim may ask for while it is written down."""

    config: Config
    scope: str

    def real(self, name: str, low: Any = None, high: Any = None) -> Any:
        """Return a number that may be anything from `low` to `high`; None leaves that side open."""

    def pick(self, name: str, options: Sequence[Any]) -> Any:
        """Return any of a few options; each is proved on its own."""

    def assume(self, text: str, condition: Any) -> None:
        """Name an assumption; the claim says nothing where it does not hold."""

    def group(self, name: str) -> Any:
        """Return a parameter group of the vehicle file: constants, or anything in the declared ranges."""

    def show(self, name: str, value: Any) -> None:
        """Print this value along with a counterexample."""

    def tell(self, text: str, **values: Any) -> None:
        """Tell a counterexample in words: `text` with `{name}` for each value."""


@dataclass(frozen=True)
class Claim:
    """One statement about the shipped code; made by `claim` or `enumerated`."""

    id: str
    title: str
    body: Callable[..., Any]
    basis: str = ""
    scopes: Sequence[str] = (RANGES, VEHICLE)
    controls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    exhaustive: bool = False
    inductive: bool = False
    """It is a step of an induction or a rate: a counterexample is a state that no motion need ever reach."""


def claim(
    id: str,  # noqa: A002  (the word that safety cases use)
    title: str,
    *,
    controls: Mapping[str, Mapping[str, Any]],
    basis: str = "",
    scopes: Sequence[str] = (RANGES, VEHICLE),
    inductive: bool = False,
) -> Callable[[Callable[..., Any]], Claim]:
    """Declare a claim that a solver decides; the controls run in the first scope."""
    return lambda body: Claim(id, title, body, basis, scopes, controls, inductive=inductive)


def enumerated(
    id: str,  # noqa: A002  (the word that safety cases use)
    title: str,
    *,
    controls: Mapping[str, Mapping[str, Any]],
    basis: str = "",
    scopes: Sequence[str] = (VEHICLE,),
) -> Callable[[Callable[..., Iterator[str]]], Claim]:
    """Declare a claim that is decided by trying every case.

    The body is a generator: for each case it yields "" when the claim holds there, or the counterexample in
    words. `world.real` and `world.assume` are not available to it; `world.show` adds a number to the
    report.
    """
    return lambda body: Claim(id, title, body, basis, scopes, controls, exhaustive=True)


def load(folder: Path) -> list[Claim]:
    """Return the claims of every file in `folder`, in order of file name and line.

    Raises `ClaimError` for a file that does not import, a claim without control, an id used twice, or no
    claim.
    """
    claims: list[Claim] = []
    for path in sorted(folder.glob("*.py")):
        claims.extend(_load_file(path))
    if not claims:
        raise ClaimError(f"{folder}: no claim found in *.py")
    seen: set[str] = set()
    for one in claims:
        if one.id in seen:
            raise ClaimError(f"{folder}: the claim id {one.id} is used twice")
        if not one.controls:
            raise ClaimError(f"{folder}: claim {one.id} has no control that must fail")
        seen.add(one.id)
    return claims


def _load_file(path: Path) -> list[Claim]:
    spec = importlib.util.spec_from_file_location(f"safety_supervisor_proofs.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ClaimError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ClaimError(f"{path}: {type(error).__name__}: {error}") from error
    return [value for value in vars(module).values() if isinstance(value, Claim)]


class Group:
    """A parameter group as a claim sees it: each attribute is fetched when it is first used."""

    def __init__(self, name: str, fetch: Callable[[str, float, float], Any]) -> None:
        if name not in GROUPS:
            raise ClaimError(f"unknown parameter group {name}; known: {', '.join(GROUPS)}")
        self._name = name
        self._fetch = fetch
        self._declared = {spec.name: spec for spec in parameters(GROUPS[name])}

    def __getattr__(self, attribute: str) -> Any:
        spec = self.__dict__.get("_declared", {}).get(attribute)
        if spec is None:
            raise AttributeError(f"parameter group {self._name} has no {attribute}")
        return self._fetch(f"{self._name}.{attribute}", spec.metadata["low"], spec.metadata["high"])


def vehicle_value(config: Config, key: str) -> Fraction:
    """Return the exact value of the parameter `group.name`."""
    group, name = key.split(".")
    return Fraction(getattr(getattr(config, group), name))
