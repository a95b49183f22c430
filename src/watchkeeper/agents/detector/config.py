"""When a detector speaks. Every number has a unit, and a default that suits a service of some calls a minute."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from watchkeeper.core.findings import FailureMode
from watchkeeper.core.model import Contract


class TokenCostConfig(Contract):
    """A subject's live cost (tokens, where prices are not known) against its own baseline, in steps of `state.step_s`.

    A step is over the line when its rate exceeds `ratio` times the median of the clean steps, and the median by
    `deviations` robust standard deviations, and the median by `floor`.
    """

    ratio: float = Field(default=3.0, gt=1)
    deviations: float = Field(default=6.0, ge=0)
    floor_usd_per_min: float = Field(default=0.10, ge=0)
    """An excess below this is not worth a finding (US dollars a minute)."""
    floor_tokens_per_min: float = Field(default=20_000.0, ge=0)
    """The same where no price is known (tokens a minute)."""
    needed: int = Field(default=3, ge=1)
    of: int = Field(default=4, ge=1)
    """So many of the last `of` whole steps must be over the line."""
    min_history: int = Field(default=20, ge=3)
    """Steps with traffic before a baseline is trusted; without it only the ceiling speaks."""
    baseline_steps: int = Field(default=120, ge=3)
    """The latest clean steps that make the baseline."""
    ceiling_usd_per_min: float | None = Field(default=None, gt=0)
    """A rate that is too much whatever the history; None: there is none."""
    clear_ratio: float = Field(default=1.5, gt=1)
    """The finding is over when the rate is back under so many times the baseline."""
    critical_usd_per_min: float = Field(default=5.0, gt=0)
    """An excess from which the finding is critical."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.needed > self.of:
            raise ValueError("needed must not be more than of")
        if self.clear_ratio > self.ratio:
            raise ValueError("clear_ratio must not be more than ratio")
        return self


class RunawayLoopConfig(Contract):
    """A run that goes on without getting anywhere. Any one sign at its limit makes a finding."""

    max_iterations: int = Field(default=50, ge=2)
    """Model calls of a run since it last ended."""
    max_repeats: int = Field(default=10, ge=2)
    """The same tool with the same arguments, in one run."""
    max_cycles: int = Field(default=5, ge=2)
    """Whole repeats of a sequence of two to eight different tool calls or agents at the end of a run."""
    max_run_s: float = Field(default=1800.0, gt=0)
    """How long a run may go on without an end, if it makes `min_iterations` in that time."""
    min_iterations: int = Field(default=10, ge=1)
    silent_s: float = Field(default=60.0, gt=0)
    """A run that says nothing for so long is taken to be over."""
    critical_factor: float = Field(default=3.0, ge=1)
    """A sign at so many times its limit, or three runs at once, is critical."""


class ProviderOutageConfig(Contract):
    """5xx, 429 and time-outs of a provider, per deployment, over buckets of `state.bucket_s`.

    Refusals by limits of ours or of the gateway's owner never count.
    """

    window_s: float = Field(default=60.0, gt=0)
    error_ratio: float = Field(default=0.5, gt=0, le=1)
    """Share of the calls that reached the provider."""
    consecutive: int = Field(default=2, ge=1)
    """So many of the latest buckets with traffic must all be at the ratio."""
    min_calls: int = Field(default=8, ge=1)
    """Reported calls in those buckets, together."""
    sibling_ratio: float = Field(default=0.2, ge=0, lt=1)
    """A sibling deployment under this ratio is healthy: then the deployment is to blame, not the provider."""
    lookback_s: float = Field(default=600.0, gt=0)
    """How long ago a deployment may have served and still be the one that unnamed failures belong to."""
    state_series: str = "litellm_deployment_state"
    """A gauge of the gateway: 0 healthy, 1 partial, 2 complete outage. It supports a finding, it never makes one."""
    failure_series: str = ""
    """A configured Prometheus query, by name, whose value is the share of failures (0..1) of a deployment or provider.
    It makes a finding where its latest `consecutive` values within the window (at most 8) are all at the ratio,
    whatever the number of calls: a query that must not judge little traffic has to leave it out itself."""
    critical_ratio: float = Field(default=0.9, gt=0, le=1)


COMMON_ALERTS: dict[str, FailureMode] = {
    "KubePodCrashLooping": FailureMode.CRASH_LOOP,
    "KubePodNotReady": FailureMode.CRASH_LOOP,
    "KubeContainerOOMKilled": FailureMode.OUT_OF_MEMORY,
    "KubeDeploymentRolloutStuck": FailureMode.STUCK_ROLLOUT,
    "KubeStatefulSetUpdateNotRolledOut": FailureMode.STUCK_ROLLOUT,
    "KubeDaemonSetRolloutStuck": FailureMode.STUCK_ROLLOUT,
    "KubeNodeNotReady": FailureMode.NODE_NOT_READY,
    "KubeNodeUnreachable": FailureMode.NODE_NOT_READY,
    "KubeHpaMaxedOut": FailureMode.SATURATION,
    "CPUThrottlingHigh": FailureMode.SATURATION,
    "NodeFilesystemAlmostOutOfSpace": FailureMode.DISK_FULL,
    "NodeFilesystemSpaceFillingUp": FailureMode.DISK_FULL,
    "NodeSystemdServiceFailed": FailureMode.SERVICE_DOWN,
    "WindowsServiceDown": FailureMode.SERVICE_DOWN,
}
"""Names of the kubernetes, node and windows mixins of Prometheus. What means a bad deploy, a hung process or a backlog
is each team's own rule."""


class AlertsConfig(Contract):
    """Which alerts, on what `alertmanager.targets` names, mean which failure mode of the infrastructure."""

    modes: dict[str, FailureMode] = Field(default_factory=lambda: dict(COMMON_ALERTS), max_length=500)
    """By the alert's name. What is given stands in the place of all the common names."""
    critical: tuple[str, ...] = ("KubeNodeNotReady", "KubeNodeUnreachable")
    """Alerts that make a critical finding; the others make a warning."""

    @field_validator("modes")
    @classmethod
    def _of_infrastructure(cls, value: dict[str, FailureMode]) -> dict[str, FailureMode]:
        for name, mode in value.items():
            if not mode.of_infrastructure:
                raise ValueError(f"{name}: {mode} is found in calls and runs, not by an alert")
        return value


class DetectorConfig(Contract):
    token_cost: TokenCostConfig = TokenCostConfig()
    runaway_loop: RunawayLoopConfig = RunawayLoopConfig()
    provider_outage: ProviderOutageConfig = ProviderOutageConfig()
    alerts: AlertsConfig = AlertsConfig()
