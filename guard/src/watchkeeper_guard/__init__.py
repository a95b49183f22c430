"""Enforcement in the request path of an LLM gateway, by rules that a Watchkeeper daemon sends.

Imports the standard library alone; the gateway's own packages only in the module that speaks to each. It does NOT
decide what the rules should be, and asks nobody during a call.
"""

__version__ = "0.1.0"
