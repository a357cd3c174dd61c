"""Proofs about the functions that run: the claims in proofs/ call the shipped code on exact symbolic
numbers.

`terms` has those numbers, `duals` their time derivatives, `rounding` the floating-point error; `claims` is
what a claim file imports, `engine` explores the paths of a claim, `solvers` decides each one, `command` is
the verb `safety-supervisor prove`. Only this folder imports Z3 and cvc5.
"""
