"""What a decision costs, beside Cedar on equivalent policies: `python -m bench.policy`."""
