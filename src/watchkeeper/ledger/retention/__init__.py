"""How long what is kept, and what goes."""
