"""Error budgets: what is left of them, and how fast they burn."""
