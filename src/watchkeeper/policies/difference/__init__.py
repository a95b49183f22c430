"""What another policy would change, in words."""
