"""Authority taken away: epochs of scopes, and the orders that stop."""
