"""The LiteLLM gateway as a target: keys, teams, deployments and model groups."""
