"""What redaction is measured by: material as it stands in real bodies, with what must go, and telemetry that must stay.

All credentials are made up; those of kinds that scanners of source code look for are put together here.
`python -m tests.testbed.secrets` prints how much is found and how much is taken by mistake.
"""

from __future__ import annotations

import base64
import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

from pydantic import SecretStr

from watchkeeper.core.digest import sha256
from watchkeeper.ledger.evidence.redaction import Redactor

KNOWN = 'gw-Master/Key+"2026"&more'
"""A secret of the settings, of a form that every encoding spells in another way."""


@dataclass(frozen=True)
class Sample:
    """A body, and the values that must not be found in it afterwards; `stays` must."""

    name: str
    text: str
    gone: tuple[str, ...]
    stays: tuple[str, ...] = ()


def _rand(seed: int, length: int, alphabet: str = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789") -> str:
    source = random.Random(seed)
    return "".join(source.choice(alphabet) for _ in range(length - 2)) + "a7"


def _hex(seed: int, length: int) -> str:
    return random.Random(seed).randbytes(length)[: length // 2].hex()


OPENAI = "sk-" + "proj-" + _rand(1, 48)
ANTHROPIC = "sk-" + "ant-api03-" + _rand(2, 93)
AWS_ID = "AKIA" + "QWERTY234567ASDF"
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG/" + _rand(3, 18)
AZURE_KEY = base64.b64encode(random.Random(4).randbytes(64)).decode()
STRIPE = "sk_" + "live_" + _rand(5, 24)
GITHUB = "ghp" + "_" + _rand(6, 36)
SLACK = "xox" + "b-123456789012-1234567890123-" + _rand(7, 24)
HF = "hf" + "_" + _rand(8, 34)
SENDGRID = "SG." + _rand(9, 22) + "." + _rand(10, 43)
TWILIO = "SK" + _hex(11, 32)
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PEM_BODY = "\n".join(_rand(20 + line, 64) for line in range(6))
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{PEM_BODY}\n-----END RSA PRIVATE KEY-----"
SSH = PEM.replace("RSA", "OPENSSH")
ENV = f"""# .env of the bot
OPENAI_API_KEY={OPENAI}
ANTHROPIC_API_KEY="{ANTHROPIC}"
DATABASE_URL=postgresql://bot:Tr0ub4dor&3@db.internal:5432/bot
DB_PASSWORD='correct horse battery'
PGPASSWORD=hunter2hunter2
REDIS_URL=rediss://:p4ssw0rd@cache:6380/0
LOG_LEVEL=debug
"""
ENV_GONE = (OPENAI, ANTHROPIC, "Tr0ub4dor&3", "correct horse battery", "hunter2hunter2", "p4ssw0rd")
ENV_STAYS = ("LOG_LEVEL=debug", "@db.internal:5432/bot", "OPENAI_API_KEY=")


def _chat(content: str) -> str:
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": content}]})


def _prompts() -> Iterator[Sample]:
    yield Sample("a pasted .env", ENV, ENV_GONE, ENV_STAYS)
    yield Sample(".env in a prompt", _chat("why does it not start?\n" + ENV), ENV_GONE, ENV_STAYS[:2])
    gone = tuple(json.dumps(value)[1:-1] for value in ENV_GONE)
    yield Sample(".env in JSON in JSON", json.dumps({"body": _chat(ENV)}), gone)
    yield Sample(".env in a log line of JSON", json.dumps({"log": json.dumps({"body": _chat(ENV)})}), gone)
    key = f"my key is {OPENAI}, what is wrong?"
    yield Sample("a key in a sentence", _chat(key), (OPENAI,), ("what is wrong?",))
    yield Sample(
        "a key in an event stream", f'data: {{"delta": {{"content": "{OPENAI}"}}}}\n\ndata: [DONE]\n', (OPENAI,)
    )
    compose = f"services:\n  db:\n    environment:\n      POSTGRES_PASSWORD: s3cr3t-Pass\n      API_TOKEN: {HF}\n"
    yield Sample("a compose file", _chat(compose), ("s3cr3t-Pass", HF), ("services:",))
    kube = f"apiVersion: v1\nkind: Config\nusers:\n- user:\n    token: {JWT}\n    client-key-data: x\n"
    yield Sample("a kubeconfig", kube, (JWT,), ("kind: Config",))
    netrc = "machine api.example.com login ann password S3cretNetrc\n"
    yield Sample("a netrc", netrc, ("S3cretNetrc",), ("machine api.example.com",))
    yield Sample("SQL", "CREATE USER bot IDENTIFIED BY 'Sq1Secret!';", ("Sq1Secret!",))
    yield Sample("XML", "<config><password>xmlSecret9</password></config>", ("xmlSecret9",), ("</password>",))
    yield Sample("Python", 'client = Client(api_key="abcd1234efgh", timeout=3)', ("abcd1234efgh",), ("timeout=3",))
    yield Sample("Terraform", 'admin_password = "T3rraform!pw"', ("T3rraform!pw",))
    yield Sample("a traceback", f"AuthError: key {OPENAI} was refused\\n  at line 3", (OPENAI,), ("was refused",))


def _headers() -> Iterator[Sample]:
    basic = base64.b64encode(b"ann:Passw0rd!").decode()
    yield Sample("Basic", f"Authorization: Basic {basic}", (basic,), ("Authorization: Basic ",))
    yield Sample("Bearer", f"authorization: Bearer {JWT}", (JWT,))
    yield Sample("Bearer in JSON", json.dumps({"Authorization": f"Bearer {_rand(30, 40)}"}), (_rand(30, 40),))
    yield Sample("header pairs", json.dumps([["authorization", f"Bearer {_rand(31, 40)}"]]), (_rand(31, 40),))
    yield Sample("Proxy-Authorization", "Proxy-Authorization: Basic cHJveHk6c2VjcmV0", ("cHJveHk6c2VjcmV0",))
    yield Sample("token scheme", "Authorization: token 0123abcd4567", ("0123abcd4567",))
    digest = "Authorization: Digest username=ann, realm=x, nonce=7ypf, response=6629fae49393a05397450978507c4ef1"
    yield Sample("Digest", digest, ("6629fae49393a05397450978507c4ef1",))
    aws = f"Authorization: AWS4-HMAC-SHA256 Credential={AWS_ID}/20260102, Signature=fe5f80f77d5f"
    yield Sample("AWS signature", aws, (AWS_ID, "fe5f80f77d5f"))
    yield Sample("Cookie", "Cookie: session=4f9d2c; theme=dark\r\nHost: x", ("4f9d2c",), ("Host: x",))
    yield Sample("Set-Cookie in JSON", '{"set-cookie": "sid=s%3Aq1w2e3; Path=/"}', ("q1w2e3",))
    for name in (
        "X-Api-Key",
        "api-key",
        "x-goog-api-key",
        "Ocp-Apim-Subscription-Key",
        "X-Auth-Token",
        "X-Vault-Token",
    ):
        yield Sample(name, f"{name}: {_rand(32, 32)}", (_rand(32, 32),), (f"{name}: ",))
        yield Sample(f"{name} in JSON", json.dumps({name.lower(): _hex(33, 32)}), (_hex(33, 32),))
    yield Sample("PRIVATE-TOKEN", "PRIVATE-TOKEN: 9koXpg98eAheJpvBs5tK", ("9koXpg98eAheJpvBs5tK",))
    yield Sample("client address", "X-Forwarded-For: 203.0.113.7, 10.0.0.2", ("203.0.113.7",))
    yield Sample("client address in JSON", '{"requester_ip_address": "2001:db8::8a2e:370:7334"}', ("8a2e:370:7334",))
    curl = (
        f"curl -u ann:S3cr3tPw -H 'Authorization: Bearer {_rand(34, 24)}' -H 'X-Api-Key: {_rand(35, 24)}' https://h/x"
    )
    yield Sample("curl", curl, ("S3cr3tPw", _rand(34, 24), _rand(35, 24)), ("https://h/x",))
    yield Sample("curl in a prompt", _chat("I ran\n" + curl), ("S3cr3tPw", _rand(34, 24), _rand(35, 24)))
    yield Sample("mysql", "mysql -h db -u root -pS3cr3tPw shop", ("S3cr3tPw",), (" shop",))
    yield Sample("redis-cli", "redis-cli -h cache -a S3cr3tPw ping", ("S3cr3tPw",), (" ping",))


def _connections() -> Iterator[Sample]:
    for scheme in (
        *("postgres", "postgresql+psycopg", "mysql", "mariadb+pymysql", "mongodb", "mongodb+srv", "redis", "rediss"),
        *("amqp", "amqps", "nats", "clickhouse", "snowflake", "cockroachdb", "ftp", "smtp", "ldaps", "https", "kafka"),
    ):
        yield Sample(scheme, f"{scheme}://svc:Zx9!kLm2@db.example.com/x", ("Zx9!kLm2",), ("@db.example.com",))
    yield Sample("at sign in it", "postgres://svc:p@ss9word@db/x", ("p@ss9word", "ss9word"), ("@db/x",))
    yield Sample("escaped in it", "mysql://svc:p%40ss%2F9@db/x", ("p%40ss%2F9",), ("@db/x",))
    yield Sample("PHP's slashes", r'{"dsn": "mysql:\/\/svc:Zx9kLm2q@db\/x"}', ("Zx9kLm2q",))
    blob = f"DefaultEndpointsProtocol=https;AccountName=acc;AccountKey={AZURE_KEY};EndpointSuffix=core.windows.net"
    yield Sample("Azure storage", blob, (AZURE_KEY,), ("AccountName=acc", "EndpointSuffix=core.windows.net"))
    bus = f"Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={AZURE_KEY[:43]}="
    yield Sample("Azure bus", bus, (AZURE_KEY[:43],), ("SharedAccessKeyName=Root",))
    cosmos = f"AccountEndpoint=https://acc.documents.azure.com:443/;AccountKey={AZURE_KEY};"
    yield Sample("Cosmos", cosmos, (AZURE_KEY,))
    yield Sample(
        "SQL Server", "Server=tcp:db,1433;User Id=sa;Password=Zx9!kLm2;Encrypt=True", ("Zx9!kLm2",), ("Encrypt=True",)
    )
    yield Sample("SQL Server, short", "Data Source=db;Uid=sa;Pwd=Zx9!kLm2;", ("Zx9!kLm2",))
    yield Sample(
        "JDBC", "jdbc:postgresql://db:5432/x?user=svc&password=Zx9kLm2q&ssl=true", ("Zx9kLm2q",), ("ssl=true",)
    )
    yield Sample("JDBC Oracle", "jdbc:oracle:thin:scott/t1gerPw@//db:1521/x", ("t1gerPw",))
    yield Sample("libpq", "host=db port=5432 user=svc password=Zx9kLm2q dbname=x", ("Zx9kLm2q",), ("dbname=x",))
    yield Sample("JAAS", 'sasl.jaas.config=Plain required username="svc" password="Zx9kLm2q";', ("Zx9kLm2q",))
    yield Sample("LDAP", "bindpw: Zx9kLm2q", ("Zx9kLm2q",))
    sas = "https://acc.blob.core.windows.net/c/b?sv=2024-11-04&se=2026-01-01&sr=b&sig=" + quote(
        AZURE_KEY[:43] + "=", safe=""
    )
    yield Sample("Azure SAS", sas, (quote(AZURE_KEY[:43], safe=""),), ("sv=2024-11-04",))
    presigned = f"https://b.s3.amazonaws.com/o?X-Amz-Credential=x&X-Amz-Signature={_hex(40, 64)}"
    yield Sample("presigned", presigned, (_hex(40, 64),))
    yield Sample(
        "form", urlencode({"grant_type": "password", "username": "svc", "password": "Zx9!kLm2"}), ("Zx9%21kLm2",)
    )
    yield Sample("form, nested", "next=%2Flogin%3Fpassword%3DZx9kLm2q", ("Zx9kLm2q",))


def _clouds() -> Iterator[Sample]:
    yield Sample(
        "AWS", f"[default]\naws_access_key_id = {AWS_ID}\naws_secret_access_key = {AWS_SECRET}\n", (AWS_ID, AWS_SECRET)
    )
    yield Sample(
        "AWS in JSON", json.dumps({"AccessKeyId": AWS_ID, "SecretAccessKey": AWS_SECRET}), (AWS_ID, AWS_SECRET)
    )
    yield Sample("AWS session", f"AWS_SESSION_TOKEN={_rand(50, 300)}", (_rand(50, 300),))
    gcp = {
        "type": "service_account",
        "project_id": "demo-1",
        "private_key": PEM.replace("RSA ", "") + "\n",
        "client_email": "bot@demo-1.iam.gserviceaccount.com",
    }
    lines = tuple(PEM_BODY.split("\n"))
    yield Sample("GCP", json.dumps(gcp, indent=2), (*lines, "bot@demo-1"), ('"project_id": "demo-1"',))
    yield Sample("GCP in a prompt", _chat(json.dumps(gcp)), lines)
    yield Sample("PEM", PEM, lines)
    yield Sample("SSH", _chat(SSH), lines)
    yield Sample("PEM, cut", _chat(PEM[:200]), lines[:2])
    yield Sample("PGP", PEM.replace("RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"), lines)
    for name, token in {
        "OpenAI": OPENAI,
        "OpenAI, old": "sk-" + _rand(51, 48),
        "OpenRouter": "sk-" + "or-v1-" + _hex(52, 64),
        "Anthropic": ANTHROPIC,
        "Langfuse": "sk-" + "lf-" + str(uuid.UUID(int=2**127 - 5)),
        "Hugging Face": HF,
        "Groq": "gsk" + "_" + _rand(53, 52),
        "xAI": "xai" + "-" + _rand(54, 80),
        "Perplexity": "pplx" + "-" + _rand(55, 48),
        "Replicate": "r8" + "_" + _rand(56, 37),
        "NVIDIA": "nvapi" + "-" + _rand(57, 64),
        "Google": "AIza" + _rand(58, 35),
        "Google OAuth": "ya29." + _rand(59, 60),
        "Slack": SLACK,
        "Slack webhook": "https://hooks.slack.com/services/" + f"T{_rand(60, 9)}/B{_rand(61, 9)}/{_rand(62, 24)}",
        "Slack app": "xapp" + "-1-A012-34-" + _rand(63, 40),
        "GitHub": GITHUB,
        "GitHub, fine": "github" + "_pat_" + _rand(64, 82),
        "GitLab": "glpat" + "-" + _rand(65, 20),
        "Stripe": STRIPE,
        "Stripe, long": "rk_" + "live_" + _rand(66, 99),
        "Stripe webhook": "whsec" + "_" + _rand(67, 32),
        "Twilio": TWILIO,
        "SendGrid": SENDGRID,
        "Mailgun": "key" + "-" + _hex(68, 32),
        "Mailchimp": _hex(69, 32) + "-us14",
        "npm": "npm" + "_" + _rand(70, 36),
        "PyPI": "pypi" + "-AgEIcHlwaS5vcmc" + _rand(71, 80),
        "Telegram": "123456789:" + _rand(72, 35),
        "Discord": "M" + _rand(73, 23) + "." + _rand(74, 6) + "." + _rand(75, 27),
        "Databricks": "dapi" + _hex(76, 32),
        "Vault": "hvs." + _rand(77, 90),
        "Docker": "dckr" + "_pat_" + _rand(78, 27),
        "Shopify": "shpat" + "_" + _hex(79, 32),
        "DigitalOcean": "dop" + "_v1_" + _hex(80, 64),
        "Pinecone": "pcsk" + "_" + _rand(81, 60),
        "Tavily": "tvly" + "-" + _rand(82, 32),
        "LangSmith": "lsv2" + "_pt_" + _hex(83, 32) + "_" + _hex(84, 10),
        "Watchkeeper": "wk_" + _rand(85, 43),
        "JWT": JWT,
    }.items():
        yield Sample(name, f"tried {token} and it failed", (token,), ("tried ", " and it failed"))
        yield Sample(
            f"{name} after a line break",
            _chat(f"first line\n{token}\nlast line"),
            (token,),
            ("first line", "last line"),
        )


def _people() -> Iterator[Sample]:
    yield Sample("mail", "ask ann.smith+oncall@mail.example.com", ("ann.smith+oncall@mail.example.com",), ("ask ",))
    yield Sample("mail after a line break", _chat("to:\nann@example.com\n"), ("ann@example.com",))
    yield Sample("mail in a URL", "/u?mail=ann%40example.com&x=1", ("ann%40example.com",), ("&x=1",))
    yield Sample("mail as a name", '{"user_id": "bob@example.co.uk"}', ("bob@example.co.uk",), ("user_id",))
    for number in (
        "+49 151 2345 6789",
        "+1 (650) 253-0000",
        "+442083661177",
        "+81 3-1234-5678",
        "(650) 253-0000",
        "650-253-0000",
    ):
        yield Sample(f"phone {number}", f"call me at {number}, please", (number,), ("call me at ", ", please"))
    yield Sample("phone by its label", '{"phone_number": "0151 23456789"}', ("23456789",))
    for number in (
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111111111111111",
        "5555555555554444",
        "3782 822463 10005",
    ):
        yield Sample(f"card {number}", f"my card is {number}.", (number,), ("my card is ",))
    yield Sample("card in JSON", '{"text": "card 4111111111111111"}', ("4111111111111111",))
    for number in ("DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "FR1420041010050500013M02606"):
        yield Sample(f"IBAN {number}", f"pay to {number} today", (number,), ("pay to ", " today"))
    yield Sample("SSN", "SSN 536-90-4399 is mine", ("536-90-4399",), ("is mine",))


def _known() -> Iterator[Sample]:
    raw = KNOWN.encode()
    deep = json.dumps({"a": json.dumps({"b": KNOWN})})
    inside = base64.b64encode(b"user:" + raw + b":rest").decode()
    for name, text in {
        "known": f"use {KNOWN} here",
        "known in JSON": json.dumps({"x": KNOWN}),
        "known in JSON in JSON": deep,
        "known in JSON, three deep": json.dumps(deep),
        "known as Go writes it": json.dumps({"x": KNOWN}).replace("&", "\\u0026"),
        "known in a URL": "https://h/?k=" + quote(KNOWN, safe="") + "&y=1",
        "known in a form": urlencode({"k": KNOWN}),
        "known in a URL in a URL": "/?next=" + quote("/?k=" + quote(KNOWN, safe=""), safe=""),
        "known in small escapes": "/?k=" + quote(KNOWN, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
        "known in base64": base64.b64encode(raw).decode(),
        "known in base64 for URLs": base64.urlsafe_b64encode(raw).decode(),
        "known within base64": inside,
        "known in hexadecimal": raw.hex(),
    }.items():
        yield Sample(name, text, (KNOWN, "Master", inside[9:40], raw.hex()[:20], base64.b64encode(raw).decode()[:20]))


def secrets() -> list[Sample]:
    parts = (_prompts, _headers, _connections, _clouds, _people, _known)
    return [sample for part in parts for sample in part()]


MODELS = (
    *("gpt-4o-mini-2024-07-18", "claude-3-5-sonnet@20240620", "claude-opus-4-20250514", "gemini-2.5-pro-preview-05-06"),
    *(
        "meta-llama/Llama-3.3-70B-Instruct",
        "bedrock/us.anthropic.claude-3-haiku-20240307-v1:0",
        "text-embedding-3-small",
    ),
    *(
        "azure/gpt-4o-eu-west-1-production-deployment",
        "ft:gpt-4o-mini-2024-07-18:acme::A1b2C3d4",
        "o3-mini",
        "qwen2.5:72b",
    ),
)
WORDS = (
    "the bearer of bad news: basic functionality broke at http://host:8080/v1/chat",
    "risk-based routing, task-force, whisk-broom, sk-learn-compatible-estimator",
    "user@host has no domain, and a@b neither; git@github.com:org/repo.git is an address of code",
    "Enter your password: and press return. The secret: patience and time. A token is about four characters.",
    "authorization: the caller lacks it; cookie: none. Passwords are case sensitive.",
    "PWD=/home/app HOME=/home/app PATH=/usr/bin:/bin OLDPWD=/srv",
    "litellm 1.106.2 on 10.0.3.17:4000, upstream 192.0.2.10:443, python 3.11.9, psycopg 3.3.1",
    "docker run -u 1000:1000 -p 8080:80 img@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "RateLimitError: 429 {'error': {'message': 'TPM 90000/100000, retry in 3.217s', 'code': 'rate_limit_exceeded'}}",
    "at 2026-01-02T03:04:05.678901+00:00 took 00:00:12.345; next 2026-11-25 22:40:03 UTC +0200",
    "budget 1234567.89, 4111 of 5555 calls, 12-34-56, 1-800 tries, ratio 0.4111111111111111, 1e21, 1.5E-07",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-haiku-20240307-v1:0",
    "Retry-After: 30; X-Request-Id: req_011CSHoEeqs5C35K2UUqR7Fy; x-ratelimit-remaining-tokens: 149984",
)
BODIES: tuple[object, ...] = (
    {"prompt_tokens": 12345678, "completion_tokens": 100, "total_tokens": 12345778, "max_tokens": 4096},
    {"api_key_hash": "9f86d081884c7d659a2feaa0c55ad015", "key_alias": "chat-service", "key_name": "sk-...1234"},
    {"token": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f3f1243e0b7", "spend": 0.25, "tpm_limit": None},
    {
        "api_key": "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f3f1243e0b7",
        "api_base": "https://api.openai.com",
    },
    {"password": None, "at": "2026-01-02T03:04:05.000001Z", "api_key": 12345678, "secret": True},
    {"logprobs": [{"token": " hello", "logprob": -0.12}, {"token": "internationalization", "bytes": [105, 110]}]},
    {"eos_token": "<|endoftext|>", "pad_token": "<pad>", "stop": ["\n\n", "Observation:"], "finish_reason": "stop"},
    {"required": ["username", "password"], "properties": {"password": {"type": "string"}, "token": {"type": "string"}}},
    {
        "cache_key": "chat:gpt-4o:9f86d081884c7d65",
        "partition_key": "tenant-42",
        "idempotency_key": "pln_019b7c1d4e5f/0/apply",
    },
    {
        "id": "chatcmpl-9x8y7z6w5v4u3t2s1r0q",
        "call": "call_abc123DEF456ghi789JKL012",
        "system_fingerprint": "fp_44709d6fcb",
    },
    {"id": "msg_01XFDUDYJgAACzvnptvVoYEL", "batch": "msgbatch_013Zva2CMHLNnXjNJJKqJ2EF", "thread": "thread_abc123"},
    {"card": 4111111111111111, "snowflake": 1764110371123456789, "rows": [5555555555554444, 4242424242424242]},
    {"x-forwarded-for": "unknown", "server.address": "203.0.113.9", "net.peer.ip": "198.51.100.4", "ip_version": 4},
    {"auth": "bearer", "credentials": "include", "signature": "v1", "token_type": "Bearer", "expires_in": 3600},
    {"phone_home": "disabled", "mobile": True, "fax": None, "client_address_family": "inet6"},
)


def _identifiers(source: random.Random) -> Iterator[str]:
    """One of each form in which systems name things, at random."""
    at = datetime(2026, 1, 2, tzinfo=UTC) + timedelta(seconds=source.random() * 1e7)
    yield from (source.randbytes(size).hex() for size in (4, 8, 12, 16, 20, 32, 64))
    yield str(uuid.UUID(int=source.getrandbits(128), version=4))
    yield "sha256:" + source.randbytes(32).hex()
    yield f"{source.choice(('inc', 'pln', 'clm', 'req', 'run', 'call', 'resp'))}_{source.randbytes(14).hex()}"
    yield base64.b64encode(source.randbytes(32)).decode()
    yield base64.urlsafe_b64encode(source.randbytes(16)).decode().rstrip("=")
    yield at.isoformat()
    yield str(int(at.timestamp()))
    yield str(int(at.timestamp() * 1e3))
    yield str(int(at.timestamp() * 1e6))
    yield str(int(at.timestamp() * 1e9))
    yield str(source.getrandbits(63))
    yield f"00-{source.randbytes(16).hex()}-{source.randbytes(8).hex()}-01"
    yield f"{source.random():.17g}"
    yield f"{source.choice(MODELS)}"
    yield f"gateway-{source.getrandbits(16)}.prod.svc.cluster.local:4000"


def benign() -> list[str]:
    """Telemetry and talk that must come through as it is."""
    bodies = [json.dumps(body) for body in BODIES] + [json.dumps(body, indent=1) for body in BODIES]
    bodies += [json.dumps({"model": model, "key": model, "token": model}) for model in MODELS]
    source = random.Random(2026)
    for _ in range(100):
        made = list(_identifiers(source))
        bodies += [json.dumps({"id": value, "key": value, "labels": [value], "n": 1}) for value in made]
        bodies.append(json.dumps({"text": "\n".join(made)}))
        bodies.append(" ".join(made))
    return [*WORDS, *map(_chat, WORDS), *bodies]


@dataclass(frozen=True)
class Rates:
    secrets: int
    found: int
    benign: int
    unchanged: int
    missed: tuple[str, ...]
    taken: tuple[tuple[str, str], ...]


def measure(redactor: Redactor | None = None) -> Rates:
    redactor = redactor or Redactor([SecretStr(KNOWN)])
    samples, bodies = secrets(), benign()
    missed = [sample.name for sample in samples if not found(sample, redactor)]
    taken = [(body, clean) for body in bodies if (clean := redactor.redact(body.encode()).decode()) != body]
    return Rates(
        len(samples), len(samples) - len(missed), len(bodies), len(bodies) - len(taken), tuple(missed), tuple(taken)
    )


def found(sample: Sample, redactor: Redactor) -> bool:
    clean = redactor.redact(sample.text.encode()).decode()
    return not any(value in clean for value in sample.gone) and all(value in clean for value in sample.stays)


if __name__ == "__main__":
    rates = measure()
    print(f"found {rates.found} of {rates.secrets} secrets; left {rates.unchanged} of {rates.benign} others unchanged")
    for name in rates.missed:
        print(f"missed: {name}")
    for body, clean in rates.taken[:30]:
        print(f"taken: {body[:300]}\n    -> {clean[:300]}")
    print(sha256(json.dumps([sample.text for sample in secrets()]).encode()))
