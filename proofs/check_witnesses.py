"""Checks the witnesses in proofs/witnesses/ with exact fractions. Trusts no solver and imports nothing of this project.

    python proofs/check_witnesses.py [FILE ...]

A case lists assertions that are claimed to have no common solution: the assumptions of a path through the shipped code
together with the negated conclusion, as they were given to the solvers (SMT-LIB terms). A witness is a sum of products:
each product is a positive number times some of the asserted p >= 0 or p > 0 (or squares), or any polynomial times some
asserted p = 0. If that sum is identically 0 although one of its products is strictly positive, the case is impossible.
"""

import json
import re
import sys
from fractions import Fraction
from pathlib import Path

ONE = {(): Fraction(1)}  # a polynomial: {sorted tuple of variable names, with repetition: coefficient}


def demand(holds, text):
    if not holds:
        raise SystemExit(f"NOT VALID: {text}")


def add(p, q, factor=1):
    total = {m: p.get(m, 0) + factor * q.get(m, 0) for m in {**p, **q}}
    return {m: value for m, value in total.items() if value}


def times(p, q):
    total = {}
    for a, x in p.items():
        total = add(total, {tuple(sorted(a + b)): y for b, y in q.items()}, x)
    return total


def parse(text):
    """Return an SMT-LIB term as nested lists of words."""
    stack = [[]]
    for word in re.findall(r"\(|\)|\|[^|]*\||[^\s()]+", text):
        if word == "(":
            stack.append([])
        else:
            done = stack.pop() if word == ")" else word
            stack[-1].append(done)
    return stack[0][0]


def polynomial(term):
    if isinstance(term, str):
        return {(): Fraction(term)} if re.fullmatch(r"\d+(\.\d+)?", term) else {(term,): Fraction(1)}
    operator, result, *parts = term[0], *map(polynomial, term[1:])
    if operator == "-" and not parts:
        return add({}, result, -1)
    for part in parts:
        if operator == "/":
            demand(set(part) == {()}, "a division by what is no number")
            result = times(result, {(): 1 / part[()]})
        elif operator == "*":
            result = times(result, part)
        else:
            result = add(result, part, {"+": 1, "-": -1}[operator])
    return result


def assertion(text):
    """Return (relation, p) for `p relation 0`, the relation being >=, > or =."""
    relation, left, right = parse(text)
    if relation in ("<=", "<"):
        relation, left, right = relation.replace("<", ">"), right, left
    demand(relation in (">=", ">", "="), relation)
    return relation, add(polynomial(left), polynomial(right), -1)


def check(case):
    """Refuse unless the witness shows that the assertions contradict each other."""
    known, total, strict = list(map(assertion, case["assertions"])), {}, False
    for entry in case["products"]:
        factor, product = Fraction(entry["factor"]), ONE
        demand(factor > 0, "a factor is not positive")
        for index in entry["of"]:
            demand(known[index][0] != "=", "an equation among the factors of a product")
            product = times(product, known[index][1])
        for square in map(polynomial, map(parse, entry["squares"])):
            product = times(product, times(square, square))
        strict |= not entry["squares"] and all(known[index][0] == ">" for index in entry["of"])
        total = add(total, product, factor)
    for entry in case["equations"]:
        relation, left = known[entry["of"]]
        demand(relation == "=", "a multiplier of any sign on an inequality")
        total = add(total, times(polynomial(parse(entry["times"])), left))
    demand(strict, "no product is strictly positive")
    demand(not total, "the sum is not identically 0")


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:] or sorted((Path(__file__).parent / "witnesses").glob("*.json"))):
        cases = [case for query in json.loads(file.read_text(encoding="utf-8"))["queries"] for case in query["cases"]]
        list(map(check, cases))
        print(f"{file.name}: {len(cases)} cases are impossible")
