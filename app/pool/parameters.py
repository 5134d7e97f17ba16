"""The run-time tunables (contract, 2.5). They live with the pool, so that every worker and replica follows them."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from app.settings import CompressorName, Settings

Enabled = Annotated[bool, Field(description="Whether stores are accepted.")]
Compressor = Annotated[CompressorName, Field(strict=False, description="Compressor of pages stored from now on.")]
MaxPoolBytes = Annotated[int, Field(ge=0, le=(1 << 63) - 1, description="Bytes of blobs at most; 0: no limit.")]
MaxStoredPages = Annotated[int, Field(ge=0, le=(1 << 53) - 1, description="Pages at most, of every kind.")]
AcceptThresholdPercent = Annotated[
    int, Field(ge=1, le=100, description="A closed pool reopens at this share of max_pool_bytes; 100: at once.")
]


class Parameters(BaseModel):
    """All tunables, as they hold now."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        json_schema_extra={
            "examples": [
                {
                    "enabled": True,
                    "compressor": "lz4",
                    "max_pool_bytes": 3355443200,
                    "max_stored_pages": 4294967296,
                    "accept_threshold_percent": 90,
                }
            ]
        },
    )

    enabled: Enabled
    compressor: Compressor
    max_pool_bytes: MaxPoolBytes
    max_stored_pages: MaxStoredPages
    accept_threshold_percent: AcceptThresholdPercent

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The first values for a new pool; an unset `max_pool_bytes` is 0 (the wiring knows what memory there is)."""
        return cls(
            enabled=settings.enabled,
            compressor=settings.compressor,
            max_pool_bytes=settings.max_pool_bytes or 0,
            max_stored_pages=settings.max_stored_pages,
            accept_threshold_percent=settings.accept_threshold_percent,
        )


def _describe_as_subset(schema: dict[str, Any]) -> None:
    # A field left out keeps its value: "default: null" would tell a client the contrary.
    for field in schema["properties"].values():
        field.pop("default", None)


class ParametersPatch(BaseModel):
    """A change to any subset of the tunables; a field left out keeps its value."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", json_schema_extra=_describe_as_subset)

    enabled: Enabled | SkipJsonSchema[None] = None
    compressor: Compressor | SkipJsonSchema[None] = None
    max_pool_bytes: MaxPoolBytes | SkipJsonSchema[None] = None
    max_stored_pages: MaxStoredPages | SkipJsonSchema[None] = None
    accept_threshold_percent: AcceptThresholdPercent | SkipJsonSchema[None] = None

    @model_validator(mode="before")
    @classmethod
    def _no_null(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for name, given in value.items():
                if given is None:
                    raise ValueError(f"{name} must not be null")
        return value

    def changes(self) -> dict[str, Any]:
        """The fields that were given, by name; the compressor as its word."""
        return self.model_dump(mode="json", exclude_none=True)
