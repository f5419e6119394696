"""OpenTelemetry's standard variables, checked before its SDK reads them: with a wrong value it raises, logs tracebacks, or sends nothing.

The rules are those of the Python SDK and its OTLP/gRPC exporter (times of the exporter are seconds, all others milliseconds).
Only variables of what the programs use are checked: traces, metrics, and their resource.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import unquote, urlsplit

Check = Callable[[str], str]
"""Tells what a variable takes where its value is wrong; empty where it is right."""

BSP_QUEUE, BSP_BATCH = "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
DEFAULT_QUEUE, DEFAULT_BATCH = 2_048, 512
_SECRET = "HEADERS"
MAX_SHOWN = 80
"""Characters of a value that a text quotes."""


def problems(environment: Mapping[str, str]) -> Iterator[str]:
    """One text for each wrong variable: its name, its value where that can be shown, and what it takes. Empty is unset."""
    for name, check in _CHECKS.items():
        value = environment.get(name, "").strip()
        takes = check(value) if value else ""
        if takes:
            yield f"{name}{_shown(name, value)}: {takes}"
    queue, batch = (
        _count(environment.get(name, ""), default) for name, default in ((BSP_QUEUE, DEFAULT_QUEUE), (BSP_BATCH, DEFAULT_BATCH))
    )
    if 0 < queue < batch:
        yield f"{BSP_BATCH} ({batch}) is larger than {BSP_QUEUE} ({queue})"


def _shown(name: str, value: str) -> str:
    """The value as a text quotes it; nothing of what may hold a secret."""
    return "" if _SECRET in name or "@" in value else f"={value[:MAX_SHOWN]!r}"


def _count(value: str, default: int) -> int:
    """A count; 0 where it is none."""
    return default if not value.strip() else (int(value) if _is_whole(value.strip()) else 0)


def _is_whole(value: str) -> bool:
    return re.fullmatch(r"[0-9]{1,18}", value) is not None


def _whole(low: int) -> Check:
    return lambda value: "" if _is_whole(value) and int(value) >= low else f"takes a whole number from {low}"


def _number(unit: str) -> Check:
    def check(value: str) -> str:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        return "" if 0 < number < math.inf else f"takes a number of {unit} above 0"

    return check


def _choice(*choices: str, exact: bool = False) -> Check:
    text = f"takes one of {', '.join(choices)}" if len(choices) > 1 else f"takes {choices[0]}, or is left out"
    return lambda value: "" if (value if exact else value.lower()) in choices else text


def _ratio(value: str) -> str:
    try:
        right = 0 <= float(value) <= 1
    except ValueError:
        right = False
    return "" if right else "takes a number from 0 to 1"


def _pairs(items: list[str], is_pair: Callable[[str, str], bool]) -> bool:
    pairs = (item.partition("=") for item in items)
    return all(separator and is_pair(name.strip(), text.strip()) for name, separator, text in pairs)


def _headers(value: str) -> str:
    def is_header(name: str, text: str) -> bool:
        plain = unquote(text)
        return re.fullmatch(r"[0-9A-Za-z_.-]+", name) is not None and plain.isascii() and plain.isprintable()

    return (
        ""
        if _pairs([item for item in value.split(",") if item.strip()], is_header)
        else "takes NAME=VALUE, separated by commas, that HTTP headers can carry"
    )


def _attributes(value: str) -> str:
    return "" if _pairs(value.split(","), lambda name, _: bool(name)) else "takes NAME=VALUE, separated by commas"


def _endpoint(value: str) -> str:
    try:
        parts = urlsplit(value)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    plain = re.fullmatch(r"(unix|dns|ipv4|ipv6):.+|(\[[0-9A-Fa-f:.]+\]|[^:/\[\]]+):[0-9]{1,5}", value) is not None
    return "" if right or plain else "takes http://HOST:PORT or https://HOST:PORT"


def _pem(mark: bytes, what: str) -> Check:
    def check(value: str) -> str:
        try:
            return "" if mark in Path(value).read_bytes() else f"the file holds no {what} in PEM"
        except (OSError, ValueError) as error:
            return f"the file cannot be read ({getattr(error, 'strerror', None) or error})"

    return check


def _codes(value: str) -> str:
    from grpc import StatusCode

    known = {code.name for code in StatusCode}
    return "" if all(code.strip().upper() in known for code in value.split(",") if code.strip()) else "takes names of gRPC status codes"


def _entry_points(group: str, *also: str) -> Check:
    def check(value: str) -> str:
        names = [name.strip() for name in value.split(",") if name.strip()]
        missing = [name for name in names if name not in also and not entry_points(group=group, name=name)]
        return f"no installed package has {', '.join(missing)} in {group}" if missing else ""

    return check


_LIMITS = ("ATTRIBUTE", "SPAN_ATTRIBUTE", "SPAN_EVENT", "SPAN_LINK", "EVENT_ATTRIBUTE", "LINK_ATTRIBUTE")
_EXPORTER: Mapping[str, Check] = {
    "ENDPOINT": _endpoint,
    "HEADERS": _headers,
    "TIMEOUT": _number("seconds"),
    "COMPRESSION": _choice("gzip"),
    "INSECURE": _choice("true", "false"),
    "PROTOCOL": _choice("grpc"),
    "CERTIFICATE": _pem(b"-----BEGIN CERTIFICATE-----", "certificate"),
    "CLIENT_CERTIFICATE": _pem(b"-----BEGIN CERTIFICATE-----", "certificate"),
    "CLIENT_KEY": _pem(b"PRIVATE KEY-----", "private key"),
}
_SAMPLERS = ("always_on", "always_off", "traceidratio")
_CHECKS: Mapping[str, Check] = {
    "OTEL_SDK_DISABLED": _choice("true", "false"),
    "OTEL_TRACES_EXPORTER": _choice("otlp", "none"),
    "OTEL_METRICS_EXPORTER": _choice("otlp", "none"),
    **{f"OTEL_EXPORTER_OTLP_{part}{name}": check for name, check in _EXPORTER.items() for part in ("", "TRACES_", "METRICS_")},
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": _choice("cumulative", "delta", "lowmemory"),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": _choice(
        "explicit_bucket_histogram", "base2_exponential_bucket_histogram", exact=True
    ),
    "OTEL_TRACES_SAMPLER": _choice(*_SAMPLERS, *(f"parentbased_{name}" for name in _SAMPLERS)),
    "OTEL_TRACES_SAMPLER_ARG": _ratio,
    BSP_QUEUE: _whole(1),
    BSP_BATCH: _whole(1),
    "OTEL_BSP_SCHEDULE_DELAY": _whole(1),
    "OTEL_BSP_EXPORT_TIMEOUT": _whole(1),
    "OTEL_METRIC_EXPORT_INTERVAL": _number("milliseconds"),
    "OTEL_METRIC_EXPORT_TIMEOUT": _number("milliseconds"),
    "OTEL_METRICS_EXEMPLAR_FILTER": _choice("trace_based", "always_on", "always_off", exact=True),
    **{f"OTEL_{name}_COUNT_LIMIT": _whole(0) for name in _LIMITS},
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": _whole(0),
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": _whole(0),
    "OTEL_RESOURCE_ATTRIBUTES": _attributes,
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": _entry_points("opentelemetry_resource_detector", "*"),
    **{
        f"OTEL_PYTHON_EXPORTER_OTLP_GRPC_{part}CREDENTIAL_PROVIDER": _entry_points("opentelemetry_otlp_credential_provider")
        for part in ("", "TRACES_", "METRICS_")
    },
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES": _codes,
}
