"""What people are asked, what they answer, and how an answer binds one plan."""
