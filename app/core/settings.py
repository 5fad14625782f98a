"""Settings: one frozen value, read once from the environment. Every setting has a default.

It refuses to be: a global. The composition root reads it and passes on what a room needs.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.core.errors import Invalid, Problem

_PREFIX = "TOOLMINT_"
_BARE = {"anthropic_api_key": "ANTHROPIC_API_KEY", "anthropic_base_url": "ANTHROPIC_BASE_URL"}


class Settings(BaseModel):
    """What an operator may set. Names in the environment are `TOOLMINT_` and the field in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    home: Path = Path(".toolmint")
    host: str = "127.0.0.1"
    port: int = Field(default=8765, ge=1, le=65535)
    database_url: str = ""
    redis_url: str = ""
    smtp_url: str = Field(default="", repr=False)
    smtp_connections: int = Field(default=10, ge=1, le=200)
    smtp_domain_at_once: int = Field(default=0, ge=0, le=200)
    smtp_domain_per_second: float = Field(default=0, ge=0, le=10_000)
    admin_key: str = Field(default="", repr=False)
    samples: bool = True
    tools_dir: Path = Path("generated_tools/published")
    public_url: str = ""
    allowed_hosts: str = ""
    model: str = "claude-sonnet-5-5"
    anthropic_api_key: str = Field(default="", repr=False)
    anthropic_base_url: str = ""
    lease_s: float = Field(default=15.0, ge=0.2, le=300)
    heartbeat_s: float = Field(default=2.0, ge=0.05, le=60)
    web_guests: int = Field(default=4, ge=1, le=64)
    worker_runs: int = Field(default=4, ge=1, le=64)
    workers: int = Field(default=1, ge=1, le=32)
    connector_limits: str = ""
    tool_limits: str = ""
    calls_per_actor: int = Field(default=64, ge=1, le=100_000)
    calls_per_tool: int = Field(default=128, ge=1, le=100_000)
    open_runs_per_actor: int = Field(default=1000, ge=1, le=10_000_000)
    circuit_failures: int = Field(default=10, ge=0, le=10_000)
    circuit_rest_s: float = Field(default=2.0, ge=0.1, le=3600)
    circuit_longest_s: float = Field(default=60.0, ge=0.1, le=86_400)
    log_level: str = "info"
    keep_journals_days: float = Field(default=30.0, ge=0, le=36_500)
    keep_answers_days: float = Field(default=90.0, ge=0, le=36_500)
    verification_stands_back: bool = True  # published tools answer from the same machine meanwhile
    mutation_score: float = Field(default=0.75, ge=0, le=1)  # `make calibrate`: correct suites 0.92 and more, weak ones 0.68 and less
    rubric_correctness: float = Field(default=0.88, ge=0, le=1)
    rubric_safety: float = Field(default=0.95, ge=0, le=1)
    rubric_idempotency: float = Field(default=1.0, ge=0, le=1)
    rubric_observability: float = Field(default=0.9, ge=0, le=1)
    rubric_rollback: float = Field(default=0.8, ge=0, le=1)
    rubric_cost: float = Field(default=0.5, ge=0, le=1)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the environment. Raises Invalid `settings_invalid` naming each variable that is wrong, never its value."""
        source = os.environ if environ is None else environ
        names = {field: _BARE.get(field, _PREFIX + field.upper()) for field in cls.model_fields}
        given = {field: source[name] for field, name in names.items() if source.get(name, "") != ""}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            problems = [
                Problem(names.get(str(item["loc"][0]), "settings"), item["msg"], "Correct or unset this variable.")
                for item in error.errors(include_input=False, include_url=False)
            ]
            raise Invalid("settings_invalid", "Some settings are wrong.", problems=problems) from None

    @property
    def database(self) -> str:
        """The database URL: the one given, else SQLite under `home`."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'toolmint.db'}"

    @property
    def redis_socket(self) -> Path:
        """Where the bundled Redis listens: under `home`, or in a temporary folder of ours, since a socket path holds 107 bytes."""
        near = self.home.absolute() / "redis.sock"
        if len(os.fsencode(near)) <= 100:
            return near
        mark = hashlib.sha256(os.fsencode(self.home.absolute())).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"toolmint-{os.getuid()}-{mark}" / "redis.sock"

    @property
    def redis(self) -> str:
        """The Redis URL: the one given, else the bundled server's socket."""
        return self.redis_url or f"unix://{self.redis_socket}"

    @property
    def base_url(self) -> str:
        """The address that people and agents use."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def hosts(self) -> tuple[str, ...]:
        """Host names that requests may carry; anything else is refused with 421."""
        named = [host.strip() for host in self.allowed_hosts.split(",") if host.strip()]
        public = self.public_url.split("://", 1)[-1].split("/", 1)[0]
        return tuple(dict.fromkeys([*named, *([public] if public else []), "127.0.0.1", "localhost", "[::1]"]))
