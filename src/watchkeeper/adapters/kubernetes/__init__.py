"""Kubernetes as a target: workloads, pods, nodes, cron jobs and autoscalers."""
