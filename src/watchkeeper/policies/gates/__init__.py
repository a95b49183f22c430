"""The questions that a request passes: one function per gate, each answered with a named reason.

A failed gate says how far the request may still go: to nobody (`deny`), to the books (`shadow`), to a person
(`require_approval`). No gate can widen what another narrowed. What the input does not say (a rate, a trust) counts as
exceeded or not reached.
"""
