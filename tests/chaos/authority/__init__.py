"""SUITE=authority: executors, stops and a target that fail at random, judged by the target's journal and the ledger."""
