"""The rollout of each service: its phase, what the next one asks, and what people said."""
