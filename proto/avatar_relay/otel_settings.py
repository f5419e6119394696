"""Checks OpenTelemetry's standard variables before its SDK reads them: on a wrong value it raises, logs tracebacks, or sends nothing.

The rules are those of the Python SDK and its exporters (times of the OTLP exporters are seconds, all others milliseconds). Only variables
that the programs use are checked: traces, metrics, and their resource. Wrong values that pass are refused by the SDK.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import unquote, urlsplit

from avatar_relay.bounded_log import plain

Check = Callable[[str], str]
"""Describes the accepted values if the value is wrong; empty if it is right."""

BSP_QUEUE, BSP_BATCH = "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
DEFAULT_QUEUE, DEFAULT_BATCH = 2_048, 512
_SECRET = "HEADERS"
MAX_SHOWN = 80
"""Characters of a value quoted in a text."""
MAX_TIME_MS = 86_400_000
"""A day. The SDK's threads fail on times beyond what a lock can wait for."""


GROUPS: Mapping[str, str] = {"TRACES": "opentelemetry_traces_exporter", "METRICS": "opentelemetry_metrics_exporter"}
"""Entry points of exporters, by signal."""
_OF_PROTOCOL = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_NONE, _OTLP = "none", "otlp"


def exporter_names(environment: Mapping[str, str], signal: str) -> tuple[str, ...]:
    """The exporters selected by the standard variables for `signal` ("TRACES" or "METRICS"), by the names of their entry points.

    An empty variable is unset. The default is OTLP if it has an endpoint. `otlp` is OTLP with the configured protocol.
    """
    if _value(environment, "OTEL_SDK_DISABLED").lower() == "true":
        return ()
    endpoint = _of_signal(environment, signal, "ENDPOINT")
    names = _listed(_value(environment, f"OTEL_{signal}_EXPORTER") or (_OTLP if endpoint else ""))
    otlp = _OF_PROTOCOL.get(_of_signal(environment, signal, "PROTOCOL").lower(), "otlp_proto_grpc")
    return tuple(dict.fromkeys(otlp if name == _OTLP else name for name in names if name != _NONE))


def _value(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name, "").strip()


def _of_signal(environment: Mapping[str, str], signal: str, name: str) -> str:
    """A variable of the OTLP exporter: the signal's own, else the general one."""
    return _value(environment, f"OTEL_EXPORTER_OTLP_{signal}_{name}") or _value(environment, f"OTEL_EXPORTER_OTLP_{name}")


def _listed(value: str) -> list[str]:
    return [name.strip() for name in value.lower().split(",") if name.strip()]


def problems(environment: Mapping[str, str]) -> Iterator[str]:
    """One text for each wrong variable: its name, its value if it may be shown, and the accepted values. Empty is unset."""
    for name, check in _CHECKS.items():
        value = environment.get(name, "").strip()
        takes = check(value) if value and _is_text(value) else ""
        if takes:
            yield f"{name}{_shown(name, value)}: {takes}"
    for name in sorted(name for name, value in environment.items() if name.startswith("OTEL_") and not _is_text(value)):
        yield f"{plain(name, MAX_SHOWN)}: takes UTF-8"
    queue, batch = (
        _count(environment.get(name, ""), default) for name, default in ((BSP_QUEUE, DEFAULT_QUEUE), (BSP_BATCH, DEFAULT_BATCH))
    )
    if 0 < queue < batch:
        yield f"{BSP_BATCH} ({batch}) is larger than {BSP_QUEUE} ({queue})"
    for signal, group in GROUPS.items():
        missing = ", ".join(name for name in exporter_names(environment, signal) if not entry_points(group=group, name=name))
        if missing:
            variables = f"OTEL_{signal}_EXPORTER, OTEL_EXPORTER_OTLP_PROTOCOL"
            yield f"{variables}: no installed package has {missing[:MAX_SHOWN]} in {group}"
        endpoint = _of_signal(environment, signal, "ENDPOINT")
        if endpoint and "://" not in endpoint and "otlp_proto_http" in exporter_names(environment, signal):
            yield "OTEL_EXPORTER_OTLP_ENDPOINT: takes http://HOST:PORT or https://HOST:PORT with this protocol"


def _shown(name: str, value: str) -> str:
    """The value as quoted in a text; hidden if it may contain a secret."""
    return "" if _SECRET in name or "@" in value else f"={value[:MAX_SHOWN]!r}"


def _count(value: str, default: int) -> int:
    """A count; 0 if it is not a number."""
    return default if not value.strip() else (int(value) if _is_whole(value.strip()) else 0)


def _is_text(value: str) -> bool:
    """Whether a variable is valid UTF-8; exporters can send nothing else."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _is_whole(value: str) -> bool:
    return re.fullmatch(r"[0-9]{1,18}", value) is not None


def _whole(low: int, most: int = 0) -> Check:
    text = f"takes a whole number from {low}" + (f" to {most}" if most else "")
    return lambda value: "" if _is_whole(value) and low <= int(value) <= (most or math.inf) else text


def _number(unit: str, most: int) -> Check:
    def check(value: str) -> str:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        return "" if 0 < number <= most else f"takes a number of {unit} above 0, up to {most}"

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
        decoded = unquote(text)
        is_name = re.fullmatch(r"[0-9A-Za-z_.-]+", name) is not None and not name.lower().endswith("-bin")  # gRPC treats those as bytes
        return is_name and decoded.isascii() and decoded.isprintable()

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
    is_target = re.fullmatch(r"(unix|dns|ipv4|ipv6):.+|(\[[0-9A-Fa-f:.]+\]|[^:/\[\]]+):[0-9]{1,5}", value) is not None
    return "" if right or is_target else "takes http://HOST:PORT or https://HOST:PORT"


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


def _exporters(value: str) -> str:
    names = _listed(value)
    return "takes names of exporters, separated by commas, or none alone" if not names or (_NONE in names and len(names) > 1) else ""


def _port(value: str) -> str:
    return "" if _is_whole(value) and 0 < int(value) < 65_536 else "takes a port from 1 to 65535"


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
    "TIMEOUT": _number("seconds", MAX_TIME_MS // 1_000),
    "COMPRESSION": _choice("gzip", "deflate", "none"),
    "INSECURE": _choice("true", "false"),
    "PROTOCOL": _choice(*_OF_PROTOCOL),
    "CERTIFICATE": _pem(b"-----BEGIN CERTIFICATE-----", "certificate"),
    "CLIENT_CERTIFICATE": _pem(b"-----BEGIN CERTIFICATE-----", "certificate"),
    "CLIENT_KEY": _pem(b"PRIVATE KEY-----", "private key"),
}
_SAMPLERS = ("always_on", "always_off", "traceidratio")
_CHECKS: Mapping[str, Check] = {
    "OTEL_SDK_DISABLED": _choice("true", "false"),
    "OTEL_TRACES_EXPORTER": _exporters,
    "OTEL_METRICS_EXPORTER": _exporters,
    "OTEL_EXPORTER_PROMETHEUS_PORT": _port,
    **{f"OTEL_EXPORTER_OTLP_{part}{name}": check for name, check in _EXPORTER.items() for part in ("", "TRACES_", "METRICS_")},
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": _choice("cumulative", "delta", "lowmemory"),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": _choice(
        "explicit_bucket_histogram", "base2_exponential_bucket_histogram", exact=True
    ),
    "OTEL_TRACES_SAMPLER": _choice(*_SAMPLERS, *(f"parentbased_{name}" for name in _SAMPLERS)),
    "OTEL_TRACES_SAMPLER_ARG": _ratio,
    BSP_QUEUE: _whole(1),
    BSP_BATCH: _whole(1),
    "OTEL_BSP_SCHEDULE_DELAY": _whole(1, MAX_TIME_MS),
    "OTEL_BSP_EXPORT_TIMEOUT": _whole(1, MAX_TIME_MS),
    "OTEL_METRIC_EXPORT_INTERVAL": _number("milliseconds", MAX_TIME_MS),
    "OTEL_METRIC_EXPORT_TIMEOUT": _number("milliseconds", MAX_TIME_MS),
    "OTEL_METRICS_EXEMPLAR_FILTER": _choice("trace_based", "always_on", "always_off", exact=True),
    **{f"OTEL_{name}_COUNT_LIMIT": _whole(0) for name in _LIMITS},
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": _whole(0),
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": _whole(0),
    "OTEL_RESOURCE_ATTRIBUTES": _attributes,
    "OTEL_PYTHON_METER_PROVIDER": _entry_points("opentelemetry_meter_provider"),
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": _entry_points("opentelemetry_resource_detector", "*"),
    **{
        f"OTEL_PYTHON_EXPORTER_OTLP_GRPC_{part}CREDENTIAL_PROVIDER": _entry_points("opentelemetry_otlp_credential_provider")
        for part in ("", "TRACES_", "METRICS_")
    },
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES": _codes,
}
