"""tlog-policies: the specification's example, each fault with its line, and quorums as properties."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.core.errors import InputError, VerificationError
from watchkeeper.ledger.cosigning.cosignature import CosigningKey
from watchkeeper.ledger.cosigning.quorum import MAX_EACH, Group, Policy, Witness, read_policy
from watchkeeper.ledger.signing.checkpoint import Checkpoint, sign_checkpoint
from watchkeeper.ledger.signing.keys import SigningKey

LOG = SigningKey.generate("log.example.com/test")
NAMES = ("X1", "X2", "X3", "Y1", "Y2", "Y3")
KEYS = {name: CosigningKey.generate(f"{name.lower()}.example/w") for name in NAMES}
VKEYS = {name: key.public.vkey for name, key in KEYS.items()}
TREE = Checkpoint(LOG.name, 7, bytes(32))
NOTE = sign_checkpoint(TREE, LOG)

EXAMPLE = f"""\
log {LOG.verifier.vkey}

witness X1 {VKEYS["X1"]}
witness X2 {VKEYS["X2"]} https://x2.example/
\twitness  X3\t{VKEYS["X3"]}\t
group X-witnesses 2 X1 X2 X3

# the other organisation
witness Y1 {VKEYS["Y1"]}
witness Y2 {VKEYS["Y2"]}
witness Y3 {VKEYS["Y3"]}
group Y-witnesses any Y1 Y2 Y3

   # both
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def cosigned(*names: str) -> str:
    return NOTE + "".join(KEYS[name].cosign(TREE.to_text(), 9).to_text() for name in names)


def read(text: str) -> Policy:
    return Policy.from_text(text, "policy")


def test_the_specification_s_example_asks_for_two_of_one_and_one_of_the_other() -> None:
    policy = read(EXAMPLE)
    assert policy.open(cosigned("X1", "X3", "Y2")) == TREE
    assert policy.open(cosigned(*NAMES)) == TREE
    for too_few in ((), ("X1", "Y1"), ("X1", "X2", "X3"), ("Y1", "Y2", "Y3")):
        with pytest.raises(VerificationError, match="the quorum X-and-Y is not met"):
            policy.open(cosigned(*too_few))


def test_who_is_missing_is_said_by_name() -> None:
    with pytest.raises(VerificationError) as refused:
        read(EXAMPLE).open(cosigned("X2"))
    assert "cosigned by X2; missing: X1, X3, Y1, Y2, Y3" in refused.value.what


def test_a_checkpoint_of_another_log_or_with_a_bad_cosignature_is_refused() -> None:
    policy = read(EXAMPLE)
    stranger = sign_checkpoint(TREE, SigningKey.generate(LOG.name))
    with pytest.raises(VerificationError, match="no log of the policy signed"):
        policy.open(stranger + KEYS["X1"].cosign(TREE.to_text(), 9).to_text())
    other = Checkpoint(LOG.name, 8, bytes(32)).to_text()
    with pytest.raises(VerificationError, match="does not fit the text"):
        policy.open(cosigned("X1", "X2", "Y1") + KEYS["Y2"].cosign(other, 9).to_text())


def test_without_logs_the_caller_says_which_are_known() -> None:
    policy = read("quorum none\n")
    assert policy.open(NOTE, [LOG.verifier]) == TREE
    with pytest.raises(VerificationError):
        policy.open(NOTE)


def test_the_known_log_does_not_stand_in_for_one_that_the_policy_names() -> None:
    other = SigningKey.generate("other.example")
    with pytest.raises(VerificationError, match="no known key"):
        read(f"log {other.verifier.vkey}\nquorum none\n").open(NOTE, [LOG.verifier])


def test_thirty_two_of_each_are_read() -> None:
    lines = [f"log {SigningKey.generate(f'l{n}').verifier.vkey}\n" for n in range(32)]
    lines += [f"witness w{n} {CosigningKey.generate(f'w{n}').public.vkey}\n" for n in range(32)]
    lines += [f"group g{n} all w{n}\n" for n in range(32)]
    policy = read("".join(lines) + "quorum g31\n")
    assert policy.holds(["w31"])
    assert not policy.holds([f"w{n}" for n in range(31)])


def test_octets_that_are_no_text_are_opaque_names() -> None:
    policy = Policy.from_bytes(b"witness \xff\xfe " + VKEYS["X1"].encode() + b"\nquorum \xff\xfe\n", "policy")
    assert policy.open(cosigned("X1"), [LOG.verifier]) == TREE
    with pytest.raises(VerificationError, match=r"\\xff\\xfe"):
        policy.open(NOTE, [LOG.verifier])
    kelvin = read(f"witness K {VKEYS['X1']}\nwitness \u212a {VKEYS['X2']}\nquorum \u212a\n")
    assert kelvin.holds(["\u212a"])
    assert not kelvin.holds(["K"])


W1 = f"witness X1 {VKEYS['X1']}\n"
W2 = f"witness X2 {VKEYS['X2']}\n"


FAULTS = [
    ("", "policy:1", "no quorum line"),
    (W1, "policy:1", "no quorum line"),
    ("quorum none", "policy:1", "does not end in a newline"),
    ("quorum none\nquorum none\n", "policy:2", "second quorum"),
    ("quorum X1\n", "policy:1", "X1 is not defined above"),
    (W1 + "quorum X1a\n", "policy:2", 'did you mean "X1"'),
    ("quorum\n", "policy:1", "another form"),
    ("quorum a b\n", "policy:1", "another form"),
    ("\nqourum none\n", "policy:2", 'did you mean "quorum"'),
    ("quorum none\r\n", "policy:1", "control character"),
    ("quorum none\x7f\n", "policy:1", "control character"),
    ("log\n", "policy:1", "another form"),
    ("log nonsense\n", "policy:1", "verifier key"),
    (f"log {VKEYS['X1']}\n", "policy:1", "Ed25519 key"),
    (f"log {LOG.verifier.vkey}\n" * 2, "policy:2", "given twice"),
    (f"witness X1 {LOG.verifier.vkey}\n", "policy:1", "type 0x01"),
    (W1 * 2, "policy:2", "X1 is taken"),
    (W1 + f"witness X2 {VKEYS['X1']}\n", "policy:2", "public key of X1"),
    (f"witness none {VKEYS['X1']}\n", "policy:1", "none is taken"),
    ("witness X1\n", "policy:1", "another form"),
    (W1 + "group X1 any X1\n", "policy:2", "X1 is taken"),
    (W1 + "group g any\n", "policy:2", "another form"),
    (W1 + "group g any X1 X1\n", "policy:2", "already a member of g"),
    (W1 + "group g any X1\ngroup h any X1\n", "policy:3", "already a member of g"),
    (W1 + "group g any none\n", "policy:2", "none is not defined"),
    (W1 + "group g any g\n", "policy:2", "g is not defined"),
    (W1 + "group g 0 X1\n", "policy:2", "threshold 0"),
    (W1 + "group g 2 X1\n", "policy:2", "threshold 2 of 1"),
    (W1 + W2 + "group g 01 X1 X2\n", "policy:3", "threshold 01"),
    (W1 + "group g most X1\n", "policy:2", "threshold most"),
    ("#" * 1_048_577 + "\n", "policy:1", "too long"),
]


@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_each_fault_is_told_with_its_line(number: int) -> None:
    text, place, what = FAULTS[number]
    with pytest.raises(InputError) as refused:
        read(text)
    assert refused.value.place == place
    assert what in refused.value.what
    assert refused.value.next_step


def test_more_than_the_bound_is_refused() -> None:
    lines = [f"log {SigningKey.generate(f'l{n}').verifier.vkey}\n" for n in range(MAX_EACH + 1)]
    with pytest.raises(InputError, match=f"more than {MAX_EACH} logs"):
        read("".join(lines))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the policy"):
        read_policy(tmp_path / "none")


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Groups over witnesses and groups, each name a member at most once."""
    free, groups = list(NAMES), []
    for number in range(draw(st.integers(0, 4))):
        members = draw(st.lists(st.sampled_from(free), unique=True, min_size=1)) if free else []
        if members:
            group = Group(f"g{number}", draw(st.integers(1, len(members))), tuple(members))
            groups.append(group)
            free = [*(name for name in free if name not in members), group.name]
    quorum = draw(st.sampled_from([*NAMES, *(group.name for group in groups)]))
    return Policy((), tuple(Witness(name, KEYS[name].public) for name in NAMES), tuple(groups), quorum)


def written(policy: Policy) -> str:
    lines = [f"witness {each.name} {each.key.vkey}\n" for each in policy.witnesses]
    lines += [f"group {each.name} {each.threshold} {' '.join(each.members)}\n" for each in policy.groups]
    return "".join(lines) + f"quorum {policy.quorum}\n"


some = st.frozensets(st.sampled_from(NAMES))


@given(policies(), some, some)
def test_more_cosigners_never_unmake_a_quorum(policy: Policy, few: frozenset[str], more: frozenset[str]) -> None:
    assert policy.holds(few | more) or not policy.holds(few)
    assert policy.holds(NAMES)
    assert not policy.holds(())


@given(policies(), some)
def test_a_policy_is_read_as_it_was_written_and_judges_notes_as_it_judges_names(
    policy: Policy, few: frozenset[str]
) -> None:
    assert read(written(policy)) == policy
    try:
        policy.open(cosigned(*sorted(few)), [LOG.verifier])
        valid = True
    except VerificationError:
        valid = False
    assert valid == policy.holds(few)


@given(st.text(alphabet="logwitnesgrupqm xX12\t\n#+/=", max_size=200))
def test_reading_whatever_text_ends_in_a_policy_or_a_told_fault(text: str) -> None:
    place = "policy:"
    try:
        read(text)
    except InputError as error:
        place = error.place
    assert place.startswith("policy:")
