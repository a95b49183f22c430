"""The remediator: plan, decision input, effects under claims. It decides neither what is wrong nor what it may do."""
