"""What another policy would have said to the decisions of a log, and what is known of what came of them."""
