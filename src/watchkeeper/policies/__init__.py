"""Authority: policy documents and decisions, stops, approvals, claims and the remedies in force."""
