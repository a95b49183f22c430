"""Settings: closed, typed, overridden by the environment, and silent about secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchkeeper.core.errors import ConfigError
from watchkeeper.core.evidence import EvidenceKind
from watchkeeper.daemon.compose import secrets_of
from watchkeeper.daemon.settings import Settings, load
from watchkeeper.ledger.archive.config import DirectoryArchive, LockMode, LockSettings, S3Archive

SECRET = "sk-very-secret-1"
GATEWAY = """gateways:
  - name: main
    base_url: http://gateway:4000/
    admin_key: sk-very-secret-1
"""


def loaded(tmp_path: Path, text: str, **environ: str) -> Settings:
    file = tmp_path / "wk.yaml"
    file.write_text(text)
    return load(file, environ)


def refused(tmp_path: Path, text: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, text, **environ)
    told = error.value.diagnostics()
    assert SECRET not in told
    assert SECRET not in str(error.value)
    return told


def test_everything_has_a_default() -> None:
    settings = load(None, {})
    assert (settings.api.host, settings.policy.pack) == ("127.0.0.1", "baseline")
    assert settings.database_url().startswith("sqlite+aiosqlite:///")


def test_an_unknown_key_is_an_error_with_its_line_and_a_suggestion(tmp_path: Path) -> None:
    told = refused(tmp_path, GATEWAY + "detectors: {}\napi:\n  prot: 9\n")
    assert f"{tmp_path / 'wk.yaml'}:7: api.prot: unknown key" in told
    assert 'did you mean "port"' in told


def test_a_wrong_value_is_an_error_with_its_line(tmp_path: Path) -> None:
    assert f"{tmp_path / 'wk.yaml'}:2" in refused(tmp_path, "api:\n  port: many\n")


def test_the_environment_wins_and_reaches_into_lists(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        GATEWAY,
        WATCHKEEPER_API__PORT="9000",
        WATCHKEEPER_GATEWAYS__0__POLL_S="2.5",
        WATCHKEEPER_GATEWAYS__1__NAME="second",
        WATCHKEEPER_GATEWAYS__1__BASE_URL="https://other",
        WATCHKEEPER_GATEWAYS__1__ADMIN_KEY="sk-other-secret",
    )
    assert settings.api.port == 9000
    assert [(g.name, g.base_url, g.poll_s) for g in settings.gateways] == [
        ("main", "http://gateway:4000", 2.5),
        ("second", "https://other", 5.0),
    ]


@pytest.mark.parametrize("name", ["WATCHKEEPER_API__PROT", "WATCHKEEPER_GATEWAYS__5__NAME", "WATCHKEEPER_API__PORT__X"])
def test_a_variable_that_does_not_fit_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    assert name in refused(tmp_path, GATEWAY, **{name: "x", "WATCHKEEPER_API__HOST": "::1"})


def test_variables_of_the_command_line_and_of_others_are_no_settings(tmp_path: Path) -> None:
    environ = {"WATCHKEEPER_TOKEN": "wk_x", "WATCHKEEPER_API_URL": "http://x", "WATCHKEEPER_CONFIG": "y", "HOME": "/"}
    environ |= {"WATCHKEEPER_WITNESS_DATA": "w", "WATCHKEEPER_WITNESS_LOGS": "l", "WATCHKEEPER_WITNESS_LISTEN": "a:1"}
    assert loaded(tmp_path, "", **environ) == load(None, {})


def test_a_secret_may_be_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text(SECRET + "\n")
    settings = loaded(tmp_path, GATEWAY.replace(f"admin_key: {SECRET}", f"admin_key_file: {secret}"))
    assert settings.gateways[0].admin_key.get_secret_value() == SECRET


def test_a_secret_file_may_come_from_the_environment(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql+psycopg://u:p@h/db")
    settings = loaded(tmp_path, "", WATCHKEEPER_DATABASE__URL_FILE=str(secret))
    assert settings.database_url() == "postgresql+psycopg://u:p@h/db"


def test_every_database_url_and_its_password_are_known_secrets(tmp_path: Path) -> None:
    names = {"URL": "daemon", "OWNER_URL": "owner", "PRUNER_URL": "pruner"}
    given = {
        f"WATCHKEEPER_DATABASE__{name}": f"postgresql+psycopg://u:{who}-password@h/db" for name, who in names.items()
    }
    known = {each.get_secret_value() for each in secrets_of(loaded(tmp_path, "", **given))}
    assert known == {*given.values(), *(f"{who}-password" for who in names.values())}


def test_a_missing_secret_file_is_an_error_with_its_line(tmp_path: Path) -> None:
    told = refused(tmp_path, GATEWAY.replace(f"admin_key: {SECRET}", "admin_key_file: /nowhere/key"))
    assert f"{tmp_path / 'wk.yaml'}:4" in told
    assert "/nowhere/key" in told


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the settings"):
        load(tmp_path / "none.yaml", {})


def test_an_archive_is_a_bucket_or_a_directory(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    text = f"ledger:\n  archive: {{kind: s3, bucket: logs, access_key: a-key, secret_key_file: {tmp_path / 'key'}}}\n"
    archive = loaded(tmp_path, text, WATCHKEEPER_LEDGER__ARCHIVE__LOCK__MODE="GOVERNANCE").ledger.archive
    assert isinstance(archive, S3Archive)
    assert archive.secret_key is not None
    assert archive.secret_key.get_secret_value() == SECRET
    assert archive.lock == LockSettings(mode=LockMode.GOVERNANCE)
    assert SECRET in {each.get_secret_value() for each in secrets_of(loaded(tmp_path, text))}
    directory = {"WATCHKEEPER_LEDGER__ARCHIVE__KIND": "directory", "WATCHKEEPER_LEDGER__ARCHIVE__PATH": "/mnt/archive"}
    given = loaded(tmp_path, "ledger:\n  retention: {entries: 7y, kinds: {prompt: 7d}}\n", **directory).ledger
    assert given.archive == DirectoryArchive(kind="directory", path=Path("/mnt/archive"))
    assert given.retention.kinds == {EvidenceKind.PROMPT: "7d"}


def test_secrets_are_in_no_form_of_the_settings(tmp_path: Path) -> None:
    settings = loaded(tmp_path, GATEWAY)
    assert SECRET not in repr(settings) + str(settings) + settings.model_dump_json() + str(settings.model_dump())


def test_the_digest_does_not_depend_on_a_secret(tmp_path: Path) -> None:
    one = loaded(tmp_path, GATEWAY)
    other = loaded(tmp_path, GATEWAY.replace(SECRET, "sk-another"))
    changed = loaded(tmp_path, GATEWAY + "environment: staging\n")
    assert one.digest() == other.digest() != changed.digest()


def test_a_secret_of_the_wrong_shape_is_not_echoed(tmp_path: Path) -> None:
    refused(tmp_path, GATEWAY.replace(f"admin_key: {SECRET}", f"admin_key: [{SECRET}]"))


def test_protected_targets_are_named_or_prefixed(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "protected: ['litellm:main/key/a', 'k8s/ns/prod*']\n")
    assert settings.is_protected("litellm:main/key/a")
    assert settings.is_protected("k8s/ns/production")
    assert not settings.is_protected("litellm:main/key/ab")


def test_a_password_in_a_gateways_address_is_refused_and_not_echoed(tmp_path: Path) -> None:
    told = refused(tmp_path, GATEWAY.replace("http://gateway:4000/", f"http://root:{SECRET}@gateway:4000"))
    assert f"{tmp_path / 'wk.yaml'}:3" in told


@pytest.mark.parametrize("name", ["main", "otlp"])
def test_sources_that_could_not_be_told_apart_are_refused(tmp_path: Path, name: str) -> None:
    told = refused(tmp_path, GATEWAY + f"prometheus:\n  - {{name: {name}, base_url: 'http://prom:9090'}}\n")
    assert f"the name {name} is given twice, or is our own" in told


def test_a_later_source_stands_in_the_place_of_an_earlier_one_in_either_spelling(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("sk-old")
    new.write_text("sk-new")
    by_file = GATEWAY.replace(f"admin_key: {SECRET}", f"admin_key_file: {old}")

    def key(text: str, **environ: str) -> str:
        return loaded(tmp_path, text, **environ).gateways[0].admin_key.get_secret_value()

    assert key(by_file, WATCHKEEPER_GATEWAYS__0__ADMIN_KEY="sk-value") == "sk-value"
    assert key(by_file, WATCHKEEPER_GATEWAYS__0__ADMIN_KEY_FILE=str(new)) == "sk-new"
    assert key(GATEWAY, WATCHKEEPER_GATEWAYS__0__ADMIN_KEY_FILE=str(new)) == "sk-new"
    old.unlink()
    assert key(by_file, WATCHKEEPER_GATEWAYS__0__ADMIN_KEY="sk-value") == "sk-value"


def test_a_secret_given_both_ways_in_one_source_is_an_error(tmp_path: Path) -> None:
    told = refused(tmp_path, GATEWAY + "    admin_key_file: /nowhere/key\n")
    assert f"{tmp_path / 'wk.yaml'}:5: admin_key is given twice" in told
    both = {"WATCHKEEPER_DATABASE__URL": "sqlite+aiosqlite:///x", "WATCHKEEPER_DATABASE__URL_FILE": "/nowhere/url"}
    told = refused(tmp_path, "", **both)
    assert all(variable in told for variable in both)


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_secret_is_an_error(tmp_path: Path, content: str) -> None:
    secret = tmp_path / "key"
    secret.write_text(content)
    told = refused(tmp_path, GATEWAY.replace(f"admin_key: {SECRET}", f"admin_key_file: {secret}"))
    assert f"{tmp_path / 'wk.yaml'}:4: the secret file {secret} is empty" in told
    assert "WATCHKEEPER_DATABASE__URL: the secret url is empty" in refused(
        tmp_path, "", WATCHKEEPER_DATABASE__URL=content
    )


def test_bytes_that_are_no_text_are_an_error_with_their_place(tmp_path: Path) -> None:
    file = tmp_path / "wk.yaml"
    file.write_bytes(b"environment: \xff\xfe\n")
    with pytest.raises(ConfigError, match="it is not UTF-8 text") as error:
        load(file, {})
    assert error.value.place == str(file)
    secret = tmp_path / "key"
    secret.write_bytes(b"\xff\xfe")
    told = refused(tmp_path, GATEWAY.replace(f"admin_key: {SECRET}", f"admin_key_file: {secret}"))
    assert f"{file}:4: cannot read the secret file {secret}: it is not UTF-8 text" in told


@pytest.mark.parametrize(
    "url", [SECRET, f"mysql://root:{SECRET}@db/wk", "postgresql://db/wk", f"postgresql+psycopg://u:{SECRET}@db:x/wk"]
)
def test_a_database_that_cannot_be_is_refused_and_not_echoed(tmp_path: Path, url: str) -> None:
    told = refused(tmp_path, f"database:\n  url: {url}\n")
    assert f"{tmp_path / 'wk.yaml'}:2: database.url: " in told
    assert "use sqlite+aiosqlite:///PATH or postgresql+psycopg://HOST/NAME" in told


def test_services_are_of_the_installations_environment_unless_they_say_so(tmp_path: Path) -> None:
    own = "services:\n  - name: chat\n  - {name: batch, environment: night}\n"
    for text, first in (("environment: staging\n" + own, "staging/chat"), (own, "production/chat")):
        settings = loaded(tmp_path, text)
        assert [str(each.scope) for each in settings.topology().services] == [first, "night/batch"]
    assert loaded(tmp_path, own, WATCHKEEPER_ENVIRONMENT="qa").services[0].environment == "qa"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WATCHKEEPER_PORT", "tcp://10.0.0.7:8720"),
        ("WATCHKEEPER_PORT_8720_TCP", "tcp://10.0.0.7:8720"),
        ("WATCHKEEPER_PORT_8720_TCP_ADDR", "10.0.0.7"),
        ("WATCHKEEPER_PORT_8720_TCP_PORT", "8720"),
        ("WATCHKEEPER_PORT_8720_TCP_PROTO", "tcp"),
        ("WATCHKEEPER_SERVICE_HOST", "10.0.0.7"),
        ("WATCHKEEPER_SERVICE_PORT", "8720"),
        ("WATCHKEEPER_SERVICE_PORT_HTTP", "8720"),
        ("WATCHKEEPER_POSTGRES_SERVICE_HOST", "10.0.0.8"),
        ("WATCHKEEPER_POSTGRES_PORT", "tcp://10.0.0.8:5432"),
        ("WATCHKEEPER_POSTGRES_PORT_5432_TCP_ADDR", "10.0.0.8"),
        ("WATCHKEEPER_TOKEN_FILE", "/run/secrets/token"),
    ],
)
def test_what_others_put_into_the_environment_is_no_setting(tmp_path: Path, name: str, value: str) -> None:
    assert loaded(tmp_path, "", **{name: value}) == load(None, {})


@pytest.mark.parametrize("name", ["WATCHKEEPER_PORT", "WATCHKEEPER_API_PORT", "WATCHKEEPER_SERVICE__HOST"])
def test_a_setting_that_only_looks_like_a_service_link_is_still_told(tmp_path: Path, name: str) -> None:
    assert name in refused(tmp_path, "", **{name: "9000"})


def test_a_variable_keeps_the_case_of_names_that_a_team_chose(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        GATEWAY,
        WATCHKEEPER_GATEWAYS__0__FALLBACKS__Gpt_4__0="Gpt_4_Standby",
        WATCHKEEPER_GATEWAYS__0__FALLBACKS__7__0="seven",
    )
    assert settings.gateways[0].fallbacks == {"Gpt_4": ("Gpt_4_Standby",), "7": ("seven",)}
    name = "WATCHKEEPER_RUNBOOKS__OVERRIDES__cap-token-spend__HOLD_S"
    assert loaded(tmp_path, "", **{name: "30"}).runbooks.overrides["cap-token-spend"].hold_s == 30


HASH = "0123456789abcdef" * 4
WITNESS = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"services:\n  - {{name: a, keys: [{SECRET}]}}\n", "wk.yaml:2: services[0].keys[0]: must be the hash of a"),
        ("services:\n  - name: a\n  - name: a\n", "services: the service production/a is given more than once"),
        (f"services:\n  - {{name: a, keys: [{HASH}]}}\n  - {{name: b, keys: [{HASH}]}}\n", "services: the key 0123"),
        (GATEWAY + "    fallbacks: {m: [n, m]}\n", "gateways[0].fallbacks: m cannot be a fallback for itself"),
        (GATEWAY.replace("gateway:4000/", "gateway:no"), "gateways[0].base_url: not a URL"),
        ("prometheus:\n  - {name: p, base_url: 'http://p:no'}\n", "prometheus: p: base_url: not a URL"),
        ("notify:\n  - {name: pager, url: not a url}\n", "wk.yaml:2: notify[0].url: "),
        (
            "ledger:\n  witnesses:\n  - {name: w, url: 'http://w', vkey: no}\n",
            "ledger.witnesses[0].vkey: the verifier key",
        ),
        (
            f"ledger:\n  witnesses:\n  - {{name: w, url: 'http://w', vkey: {WITNESS}}}\n"
            f"  - {{name: v, url: 'http://v', vkey: {WITNESS}}}\n",
            "the witness's key remora.n621.de+da77ade7",
        ),
        (
            "notify:\n  - {name: pager, url: 'http://a'}\n  - {name: pager, url: 'http://b'}\n",
            "the name pager is given twice",
        ),
        ("ledger:\n  retention: {evidence: 90}\n", "ledger.retention.evidence: "),
        ("ledger:\n  retention: {kinds: {prompts: 7d}}\n", "ledger.retention.kinds"),
        ("ledger:\n  retention:\n    entries: 7y\n", "entries go only when they are archived"),
        ("ledger:\n  archive: {kind: s3, bucket: B}\n", "wk.yaml:2: ledger.archive.bucket: "),
        ("ledger:\n  archive: {kind: directory, path: here}\n", "ledger.archive.path: give an absolute path"),
        ("ledger:\n  archive: {kind: tape}\n", "ledger.archive"),
        (
            f"ledger:\n  archive: {{kind: s3, bucket: logs, secret_key: {SECRET}}}\n",
            "access_key and secret_key together",
        ),
    ],
)
def test_what_could_never_work_is_refused_at_once(tmp_path: Path, text: str, told: str) -> None:
    assert told in refused(tmp_path, text)
