"""The guard in the real LiteLLM proxy, judged by what reached the provider behind it."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.testbed.guarded import FAILING, MODEL, SOURCE, WINDOW, Guarded, guarded_proxy
from tests.testbed.guardrules import rule
from tests.testbed.litellm import Installation
from tests.testbed.polling import eventually
from tests.testbed.upstream import Mode

from watchkeeper_guard.disk import State
from watchkeeper_guard.request import Request
from watchkeeper_guard.runs import RunState
from watchkeeper_guard.shared import SharedRuns

pytestmark = pytest.mark.peer

ROOT = Path(__file__).resolve().parents[2]

LOOP = rule("loop", max_repeats=4, max_cycle=3, max_cycle_repeats=2, match={"agent": "looper"})
CAP = rule("iterations", max_calls=5, match={"agent": "worker"})
FITS = rule("context", max_input_tokens="model", on_doubt="closed")
BUDGET = rule("budget", per="run", max_usd="0.001", assume_output=100, match={"agent": "spender"})
STANDING = (LOOP, CAP, FITS, BUDGET)


@pytest.fixture(scope="module")
def shared(litellm_installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with guarded_proxy(litellm_installation, tmp_path_factory.mktemp("guarded")) as running:
        yield running


@pytest.fixture
def guarded(shared: Guarded) -> Guarded:
    """With the standing rules in force, and an upstream that was asked nothing."""
    shared.upstream.reset()
    return shared.wait_for(shared.server.publish(*STANDING))


def spent(guarded: Guarded, run: str) -> RunState:
    runs = SharedRuns(guarded.state / "runs.bin")
    try:
        return runs.get(Request(model=MODEL, keys=("litellm_proxy_master_key",), runs=(run,)).run_key, time.time())
    finally:
        runs.close()


def test_a_run_that_loops_is_cut_at_its_cap_and_others_feel_nothing(guarded: Guarded) -> None:
    answers = [guarded.ask("again", run="loops", agent="looper") for _ in range(7)]
    assert [each.status_code for each in answers] == [200] * 4 + [403] * 3
    assert answers[-1].json()["error"]["type"] == answers[-1].headers["x-watchkeeper-guard"] == "run_repeats_itself"
    assert guarded.upstream.served() == 4
    turns = [guarded.ask(word, run="cycles", agent="looper").status_code for word in "ababa"]
    assert turns == [200, 200, 200, 200, 403]
    assert guarded.ask("again", run="another", agent="looper").status_code == 200
    assert guarded.ask("again", run="loops", agent="worker").status_code == 200


def test_a_run_is_cut_at_its_number_of_calls(guarded: Guarded) -> None:
    answers = [guarded.ask(str(number), run="long", agent="worker").status_code for number in range(7)]
    assert answers == [200] * 5 + [403] * 2
    assert guarded.upstream.served() == 5


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/messages", "/v1/responses"])
def test_a_prompt_that_is_too_long_is_refused_before_it_is_paid_for(guarded: Guarded, path: str) -> None:
    words = "one two three " * WINDOW
    body = {"input": words, "messages": None} if path.endswith("responses") else {"max_tokens": 5}
    refused = guarded.ask(words, path=path, **body)
    assert (refused.status_code, refused.headers["x-watchkeeper-guard"]) == (400, "context_over_limit")
    assert guarded.upstream.requests == ()


def test_a_prompt_near_the_limit_is_counted_and_not_refused_for_its_bytes(guarded: Guarded) -> None:
    assert guarded.ask("one two three " * (WINDOW // 4)).status_code == 200
    assert guarded.upstream.served() == 1


def test_a_mark_is_in_the_header_and_the_prompt_arrives_whole(guarded: Guarded) -> None:
    guarded.wait_for(guarded.server.publish(rule("context", max_input_tokens=10, action="mark")))
    answer = guarded.ask("hello " * 100)
    assert answer.status_code == 200
    assert answer.headers["x-watchkeeper-guard"].startswith("context_over_limit; observed=")
    assert guarded.upstream.served() == 1


def test_a_paused_agent_is_refused_others_are_not_and_it_goes_on_when_resumed(guarded: Guarded) -> None:
    assert guarded.ask(agent="sick").status_code == 200
    began = time.monotonic()
    paused = rule("hold", match={"agent": "sick"}, state="paused")
    guarded.server.publish(*STANDING, paused)
    refused = eventually(lambda: _unless_ok(guarded, "sick"), timeout_s=10, every_s=0.01)
    assert refused["error"]["type"] == "agent_paused"
    assert time.monotonic() - began < 1.0
    assert guarded.ask(agent="well").status_code == 200
    assert guarded.ask(run="r").status_code == 200
    guarded.server.publish(*STANDING)
    eventually(lambda: guarded.ask(agent="sick").status_code == 200, timeout_s=10, every_s=0.01)


def _unless_ok(guarded: Guarded, agent: str) -> dict[str, dict[str, str]] | None:
    answer = guarded.ask(agent=agent)
    body: dict[str, dict[str, str]] = answer.json()
    return None if answer.status_code == 200 else body


def test_a_run_pays_what_the_proxy_says_it_cost_and_is_cut_at_its_budget(guarded: Guarded) -> None:
    # 100 tokens in and 50 out at 1 and 2 USD a million: 200 micro-dollars a call
    first = guarded.ask("a", run="pays", agent="spender", max_tokens=50)
    assert first.status_code == 200
    eventually(lambda: spent(guarded, "pays").micro_usd == 200, timeout_s=10)
    assert spent(guarded, "pays").tokens == 150
    guarded.upstream.mode = Mode.BAD_KEY
    assert guarded.ask("b", run="pays", agent="spender", max_tokens=50, model=FAILING).status_code == 401
    eventually(lambda: spent(guarded, "pays").micro_usd == 200, timeout_s=10)
    guarded.upstream.mode = Mode.OK
    codes = [guarded.ask(str(number), run="pays", agent="spender", max_tokens=50).status_code for number in range(9)]
    assert 403 in codes
    assert spent(guarded, "pays").micro_usd <= 1000
    assert guarded.upstream.served() <= 5


def test_calls_of_one_run_at_once_do_not_overshoot(guarded: Guarded) -> None:
    guarded.upstream.delay_s = 0.5
    codes: list[int] = []

    def call(number: int) -> None:
        codes.append(guarded.ask(str(number), run="at once", agent="spender", max_tokens=100).status_code)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # some 215 micro-dollars are expected of each: four fit
    assert (codes.count(200), codes.count(403)) == (4, 8)
    assert guarded.upstream.served() == 4


def test_the_session_of_litellm_is_a_run_too(guarded: Guarded) -> None:
    guarded.wait_for(guarded.server.publish(rule("iterations", max_calls=1)))
    for name, body in (("s1", {"litellm_session_id": "s1"}), ("s2", {"metadata": {"session_id": "s2"}})):
        assert [guarded.ask(**body).status_code for _ in range(2)] == [200, 403], name
    assert guarded.ask(user="somebody").status_code == 200  # no run: in doubt, and open


def test_with_the_daemon_killed_everything_holds_over_a_restart_of_the_proxy(guarded: Guarded) -> None:
    held = rule("hold", match={"agent": "sick"}, state="stopped")
    version = guarded.server.publish(*STANDING, held)
    guarded.wait_for(version)
    for number in range(3):
        assert guarded.ask(str(number), run="over", agent="worker").status_code == 200
    guarded.server.kill()
    try:
        guarded.proxy.kill9()
        guarded.proxy.start()
        guarded.upstream.reset()
        assert guarded.ask(agent="sick").json()["error"]["type"] == "agent_stopped"
        assert guarded.ask("one two three " * WINDOW).status_code == 400
        left = [guarded.ask(f"x{number}", run="over", agent="worker").status_code for number in range(4)]
        assert left == [200, 200, 403, 403]  # three were made before
        looped = [guarded.ask("again", run="over-loops", agent="looper").status_code for _ in range(5)]
        assert looped == [200] * 4 + [403]
        assert guarded.ask(agent="well").status_code == 200
        assert guarded.upstream.served() == 2 + 4 + 1
    finally:
        guarded.server.start()
    # what was refused meanwhile is told when the daemon is back
    eventually(lambda: {"agent_stopped", "context_over_limit"} <= _codes(guarded), timeout_s=30)


def _codes(guarded: Guarded) -> set[str]:
    return {line["code"] for line in guarded.server.reported()}


def test_what_was_refused_is_reported(guarded: Guarded) -> None:
    for number in range(7):
        guarded.ask(str(number), run="told", agent="worker")
    lines = eventually(
        lambda: [each for each in guarded.server.reported() if each.get("run") == "told" and each["count"]],
        timeout_s=30,
    )
    assert sum(each["count"] for each in lines) == 2
    assert {(each["rule"], each["code"], each["environment"]) for each in lines} == {
        ("iterations", "run_calls_exceeded", "prod")
    }
    assert guarded.proxy.admin_key not in json.dumps(guarded.server.batches)


def test_workers_of_one_proxy_share_rules_and_runs(litellm_installation: Installation, tmp_path: Path) -> None:
    State(tmp_path / "guard")
    with guarded_proxy(litellm_installation, tmp_path, workers=2) as two:
        two.wait_for(two.server.publish(CAP), workers=2, timeout_s=120)
        codes = [two.ask(str(number), run="r", agent="worker").status_code for number in range(9)]
        assert codes == [200] * 5 + [403] * 4
        held = two.server.publish(CAP, rule("hold", match={"agent": "sick"}, state="paused"))
        two.wait_for(held, workers=2)
        assert {two.ask(agent="sick").status_code for _ in range(8)} == {403}


def test_closed_without_rules_refuses_until_they_come(litellm_installation: Installation, tmp_path: Path) -> None:
    with guarded_proxy(litellm_installation, tmp_path, ON_START="closed") as closed:
        refused = closed.ask()
        assert (refused.status_code, refused.headers["x-watchkeeper-guard"]) == (503, "guard_no_rules")
        assert closed.upstream.requests == ()
        closed.server.publish()
        eventually(lambda: closed.ask().status_code == 200, timeout_s=10)


def test_the_bound_is_above_what_the_real_tokenizers_count(litellm_installation: Installation) -> None:
    environment = {"PYTHONPATH": str(SOURCE), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PATH": "/usr/bin:/bin"}
    command = [str(litellm_installation.python), "-P", str(ROOT / "tests/testbed/guardtokens.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
