"""Google Cloud as a target: Compute Engine's instances, instance groups, autoscalers and backend services."""
