"""What a document may ask beside plain bounds: when, with how much error budget, and by a rule of the team's own."""
