"""What an operator can set: environment variables `PAGEPOOL_*`, or a `.env` file.

Units stand in the names of the properties that code uses, and in each description. The README's table of settings is
checked against this file by a test.
"""

from __future__ import annotations

import hashlib
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.machine import workers_given

MIB = 1 << 20
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class Persistence(StrEnum):
    """What the embedded Redis keeps across a restart: nothing, all but the last second, everything."""

    NONE = "none"
    EVERYSEC = "everysec"
    ALWAYS = "always"


class Door(StrEnum):
    """How HTTP comes in: Pagepool's protocol class, or stock uvicorn with the ASGI routes alone."""

    PROTOCOL = "protocol"
    ASGI = "asgi"


class CompressorName(StrEnum):
    """The compressors that a pool can be told to use for new pages."""

    LZ4 = "lz4"
    LZ4HC = "lz4hc"
    ZSTD = "zstd"
    NONE = "none"


class Settings(BaseSettings):
    """One frozen object, read once when a process starts."""

    model_config = SettingsConfigDict(
        env_prefix="PAGEPOOL_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # PAGEPOOL_REDIS_URL may bear a password
    )

    # Where it listens
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="TCP port to listen on; 0 picks a free one.")
    uds: Path | None = Field(None, description="Listen on this Unix socket instead of host and port.")
    workers: int = Field(
        1,
        ge=1,
        le=256,
        description="Worker processes; `auto`: one for each CPU and 326 MiB that the service was given.",
    )
    door: Door = Field(Door.PROTOCOL, description="protocol: the lean HTTP door; asgi: stock uvicorn.")
    tls_certificate: Path | None = Field(None, description="PEM certificate chain: serve HTTPS.")
    tls_key: Path | None = Field(None, description="PEM private key of that certificate.")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Host names, comma-separated, that a request may name, beside loopback's and PAGEPOOL_HOST."
    )
    allow_anonymous: bool = Field(False, description="Listen beyond loopback without tokens.")
    tokens_file: Path | None = Field(None, description="TOML or JSON file of tokens; unset: no authentication.")
    metrics_public: bool = Field(True, description="With tokens: leave /metrics open.")
    access_log: bool = Field(False, description="One JSON line for each request.")
    access_log_sample: int = Field(
        1, ge=1, description="Log one of so many requests; those answered with 5xx are always logged."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe level logged.")

    # Redis
    redis_url: SecretStr | None = Field(
        None, description="redis://, rediss://, unix://, redis+cluster://, redis+sentinel://; unset: embedded."
    )
    redis_password_file: Path | None = Field(None, description="File of the password that PAGEPOOL_REDIS_URL lacks.")
    redis_timeout: float = Field(2.0, ge=0.05, le=60, description="Seconds Redis may take for a command.")
    redis_ca_file: Path | None = Field(None, description="PEM file of authorities to trust for rediss://.")
    namespace: str = Field("pagepool", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Prefix of every key.")
    store_replicas: int = Field(0, ge=0, le=16, description="Replicas that must have a store before it is answered.")
    data_dir: Path | None = Field(
        None, description="Home of the embedded Redis; unset: a folder of its own for each port, below XDG_STATE_HOME."
    )
    persistence: Persistence = Field(Persistence.NONE, description="Append-only mode of the embedded Redis.")

    # The pool; all but the last two are fixed when the pool is made
    page_size: int = Field(4096, ge=4096, le=65536, description="Bytes in a page: a power of two.")
    stripes: int = Field(0, ge=0, le=16384, description="Stripes of a new pool; 0: 16, or 1024 on a cluster.")
    max_extent_pages: int = Field(512, ge=1, le=65536, description="Pages in one extent at most.")

    # First values of the tunables; written to the pool when a service starts, if given
    enabled: bool = Field(True, description="Accept stores.")
    compressor: CompressorName = Field(CompressorName.LZ4, description="Compressor of new pages.")
    max_pool_bytes: int | None = Field(
        None,
        ge=0,
        lt=1 << 63,
        description="Bytes of blobs at most; 0: no limit. Unset: embedded 20 % of memory, else 0.",
    )
    max_stored_pages: int = Field(1 << 32, ge=0, lt=1 << 53, description="Pages at most, of every kind.")
    accept_threshold_percent: int = Field(
        90, ge=1, le=100, description="Reopen at this share of the limit; 100: at once."
    )

    # Bounds and times
    max_connections: int = Field(10_000, ge=1, description="Client connections a worker holds.")
    max_requests_in_flight: int = Field(1024, ge=1, description="Requests a worker works on at once.")
    max_bytes_in_flight: int = Field(
        256 * MIB, ge=MIB, description="Bytes of bodies and answers that a worker holds at once."
    )
    max_header_bytes: int = Field(16_384, ge=1024, le=MIB, description="Request line and headers at most.")
    keep_alive_timeout: float = Field(60.0, gt=0, description="Seconds an idle connection is kept.")
    header_timeout: float = Field(10.0, gt=0, description="Seconds for a request's head to come whole.")
    progress_timeout: float = Field(20.0, gt=0, description="Seconds without a byte of progress, sending or receiving.")
    shutdown_timeout: float = Field(
        10.0, gt=0, description="Seconds that requests in flight get when the service ends."
    )
    max_requests_per_token: int = Field(256, ge=1, description="Requests at once by one token, a worker.")

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return (
            tuple(part.strip().lower() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("workers", mode="before")
    @classmethod
    def _as_many_as_cpus(cls, value: Any) -> Any:
        return workers_given() if value == "auto" else value

    @field_validator("page_size")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("must be a power of two")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("PAGEPOOL_TLS_CERTIFICATE and PAGEPOOL_TLS_KEY go together")
        if self.max_bytes_in_flight < 4 * self.max_extent_bytes:
            raise ValueError("PAGEPOOL_MAX_BYTES_IN_FLIGHT must hold at least four of the largest extents")
        if self.store_replicas and self.redis_url is None:
            raise ValueError("PAGEPOOL_STORE_REPLICAS needs PAGEPOOL_REDIS_URL: the embedded Redis has no replica")
        return self

    @property
    def max_extent_bytes(self) -> int:
        """Bytes of the largest extent."""
        return self.max_extent_pages * self.page_size

    @property
    def is_embedded(self) -> bool:
        """Whether the service brings its own Redis."""
        return self.redis_url is None

    @property
    def listens_beyond_loopback(self) -> bool:
        """Whether another machine could reach the service."""
        return self.uds is None and self.host not in LOOPBACK_HOSTS and not self.host.startswith("127.")

    @property
    def home(self) -> Path:
        """The embedded Redis's home: `data_dir`, or a folder that is the same for the same listening address."""
        if self.data_dir is not None:
            return self.data_dir.expanduser().absolute()
        state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        name = f"port-{self.port}"
        if self.uds is not None:
            name = "uds-" + hashlib.sha256(str(self.uds.absolute()).encode()).hexdigest()[:12]
        return state / "pagepool" / name
