"""A gateway that speaks the part of LiteLLM 1.106.2's API that a watch reads and writes.

It guarantees the same JSON shapes and the same refusals; it does not stream, has one worker, and knows no users.
"""
