"""Settings: closed, typed, overridden by the environment, and silent about secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchkeeper.core.errors import ConfigError
from watchkeeper.daemon.settings import Settings, load

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


def test_a_missing_secret_file_is_an_error_with_its_line(tmp_path: Path) -> None:
    told = refused(tmp_path, GATEWAY.replace(f"admin_key: {SECRET}", "admin_key_file: /nowhere/key"))
    assert f"{tmp_path / 'wk.yaml'}:4" in told
    assert "/nowhere/key" in told


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the settings"):
        load(tmp_path / "none.yaml", {})


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
