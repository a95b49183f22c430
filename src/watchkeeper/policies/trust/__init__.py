"""Trust per (agent, action, scope): what counts, the lower bound that gates read, and what promotion asks for."""
