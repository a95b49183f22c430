"""A Grant that asks everything that a document can ask, and a test of it."""

EVERYTHING = """apiVersion: watchkeeper.dev/v1
kind: Grant
metadata: {name: all}
spec:
  match:
    environments: [production]
    services: ["*"]
    agents: ["*"]
    runbooks: ["*"]
    intents: ["*"]
    targetKinds: ["*"]
  autonomy: full
  caps:
    maxBlastCount: 3
    maxBlastShare: 0.5
    rate: {count: 2, per: 1h}
    cooldown: 10m
    concurrency: {perTarget: 1, fleet: 2}
  trustFloor: 0.85
  minConfidence: 0.7
  requirePromotion: true
  requiredVerification: {minHorizons: 2, lastHorizon: 5m, minGuards: 1}
  windows: [{zone: UTC, start: "08:00", end: "18:00"}]
  freezes: [{name: winter, start: 2026-12-20T00:00:00Z, end: 2027-01-03T00:00:00Z}]
  errorBudgets: [{objective: served, minRemaining: 0.1}]
  rules: [{name: paid, expression: "'tier' in targetLabels || blastCount < 3", message: "few only"}]
"""
TEST = """apiVersion: watchkeeper.dev/v1
kind: PolicyTest
metadata: {name: t}
spec:
  given: {confidence: 0.9, service: chat}
  cases:
    - name: one
      given: {confidence: 0.5}
      expect: {verdict: require_approval, reasons: [confidence_too_low]}
    - name: two
      expect: {verdict: deny}
"""
