"""Proofs about the functions that run: the claims in proofs/ call the shipped code on exact symbolic numbers.

`terms` has those numbers, `duals` their time derivatives, `rounding` the floating-point error; `claims` is what a
claim file imports, `engine` explores the paths of a claim and judges it, `solvers` decides one query,
`second_opinion` asks another solver, `command` is the verb `safety-supervisor prove`. Only this folder imports Z3
and cvc5. docs/proofs.md says what is proved and how to write a claim.
"""
