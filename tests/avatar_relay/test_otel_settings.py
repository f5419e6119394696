"""A wrong OpenTelemetry variable is named in one line and turns telemetry off; an empty one is unset; a valid one is used."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from avatar_relay.otel_settings import exporter_names, problems
from avatar_relay.tracing import start_telemetry
from tests.avatar_relay.test_tracing import wait_for_exports

ASKED = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
WRONG = {
    "OTEL_EXPORTER_OTLP_TIMEOUT": ["10s", "-1", "nan", "0", "1e308"],
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": ["10s"],
    "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": ["10s"],
    "OTEL_EXPORTER_OTLP_COMPRESSION": ["zstd"],
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": ["zstd"],
    "OTEL_EXPORTER_OTLP_ENDPOINT": ["nonsense", "http://", "http://[::1", "http://a:b@/", "ftp://a:1", "a:123456"],
    "OTEL_EXPORTER_OTLP_HEADERS": ["secret", "a=secret\u00e4", "a b=secret", "a=secret%0A", "a-bin=secret"],
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": ["secret"],
    "OTEL_EXPORTER_OTLP_INSECURE": ["maybe"],
    "OTEL_EXPORTER_OTLP_PROTOCOL": ["http/json", "udp"],
    "OTEL_EXPORTER_OTLP_CERTIFICATE": ["/none.pem", "/etc/passwd"],
    "OTEL_EXPORTER_OTLP_CLIENT_KEY": ["/none.pem"],
    "OTEL_BSP_MAX_QUEUE_SIZE": ["0", "-1", "x", "511", "9" * 5_000],
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": ["0", "2049"],
    "OTEL_BSP_SCHEDULE_DELAY": ["0", "x", "999999999999999999"],
    "OTEL_BSP_EXPORT_TIMEOUT": ["x"],
    "OTEL_METRIC_EXPORT_INTERVAL": ["0", "-5", "x", "1e15"],
    "OTEL_METRIC_EXPORT_TIMEOUT": ["x"],
    "OTEL_METRICS_EXEMPLAR_FILTER": ["x", "ALWAYS_ON"],
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": ["x"],
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": ["x"],
    "OTEL_TRACES_SAMPLER": ["x"],
    "OTEL_TRACES_SAMPLER_ARG": ["abc", "7", "nan"],
    "OTEL_TRACES_EXPORTER": ["nonsense", "otlp,none", ","],
    "OTEL_METRICS_EXPORTER": ["otlp,nonsense"],
    "OTEL_EXPORTER_PROMETHEUS_PORT": ["x", "70000"],
    "OTEL_RESOURCE_ATTRIBUTES": ["foo", "a=1,=2", "a=1,", "a=\udcff"],
    "OTEL_SERVICE_NAME": ["\udcff"],
    "OTEL_ATTRIBUTE_COUNT_LIMIT": ["x", "-3"],
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": ["x"],
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": ["nonsense"],
    "OTEL_PYTHON_METER_PROVIDER": ["nonsense"],
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER": ["nonsense"],
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES": ["nonsense"],
    "OTEL_SDK_DISABLED": ["perhaps"],
}
RIGHT = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "1",
    "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "0.5",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=b",
    "OTEL_BSP_EXPORT_TIMEOUT": "500",
    "OTEL_METRIC_EXPORT_TIMEOUT": "500",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "DELTA",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram",
    "OTEL_METRICS_EXPORTER": "otlp_proto_grpc",
    "OTEL_EXPORTER_PROMETHEUS_PORT": "9464",
    "OTEL_ATTRIBUTE_COUNT_LIMIT": "64",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "0",
    "OTEL_EXPORTER_OTLP_TIMEOUT": "2.5",
    "OTEL_EXPORTER_OTLP_COMPRESSION": "GZIP",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "localhost:1",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://[::1]:1",
    "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Basic%20eA==, x-tenant = a b ,",
    "OTEL_EXPORTER_OTLP_INSECURE": "True",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    "OTEL_BSP_MAX_QUEUE_SIZE": "100",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "100",
    "OTEL_BSP_SCHEDULE_DELAY": "1000",
    "OTEL_METRIC_EXPORT_INTERVAL": "60000",
    "OTEL_METRICS_EXEMPLAR_FILTER": "always_off",
    "OTEL_TRACES_SAMPLER": "ParentBased_TraceIdRatio",
    "OTEL_TRACES_SAMPLER_ARG": "0.25",
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test,empty=",
    "OTEL_SPAN_EVENT_COUNT_LIMIT": "0",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process,*",
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES": "unavailable, ABORTED",
    "OTEL_SERVICE_NAME": "lobby \u00e4",
    "OTEL_PYTHON_METER_PROVIDER": "sdk_meter_provider",
    "OTEL_SDK_DISABLED": "false",
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_variable_is_one_line_and_turns_telemetry_off(name: str, value: str, caplog: pytest.LogCaptureFixture) -> None:
    """The line names the variable, and no secret; the SDK is not called."""
    telemetry = start_telemetry("a", "b", "c", {**ASKED, name: value})
    assert not telemetry.enabled
    (record,) = caplog.records
    text = record.getMessage()
    assert record.levelno == logging.WARNING
    assert text.startswith("telemetry is off: ") and name in text
    assert "\n" not in text and len(text) < 400
    assert "secret" not in text


@pytest.mark.parametrize("name", WRONG)
def test_an_empty_variable_is_unset(name: str) -> None:
    """As OpenTelemetry's specification requires."""
    assert [*problems({name: ""}), *problems({name: " "})] == []


def test_what_may_hold_a_password_is_not_quoted() -> None:
    """An endpoint with user and password."""
    (text,) = problems({"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://user:secret@host"})
    assert "secret" not in text


def test_all_wrong_variables_are_named() -> None:
    """All can then be fixed at once."""
    assert len(list(problems({name: values[0] for name, values in WRONG.items()}))) == len(WRONG)


def test_each_variable_is_tried_right_wrong_and_empty() -> None:
    """All except those with a file or a plugin, which have their own tests."""
    assert {name for name in WRONG.keys() - RIGHT.keys()} == {
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        "OTEL_PYTHON_EXPORTER_OTLP_GRPC_CREDENTIAL_PROVIDER",
    }
    assert len(WRONG.keys() & RIGHT.keys()) >= 30


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_variable_passes_alone(name: str) -> None:
    """Not only in combination with others."""
    beside = {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "100"} if name == "OTEL_BSP_MAX_QUEUE_SIZE" else {}
    assert list(problems({name: RIGHT[name], **beside})) == []


def test_right_values_count(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The SDK accepts every value that we accept, without a warning."""
    for name, value in RIGHT.items():
        monkeypatch.setenv(name, value)
    telemetry = start_telemetry("a", "b", "c", os.environ)
    assert telemetry.enabled
    assert caplog.records == []
    telemetry.shutdown()
    wait_for_exports()


def test_what_only_the_sdk_refuses_turns_telemetry_off(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """One line with all variables that are set; nothing is left running."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")  # invalid only for the SDK
    assert not start_telemetry("a", "b", "c", ASKED).enabled
    (record,) = caplog.records
    assert "ValueError" in record.getMessage() and "OTEL_EXPORTER_OTLP_ENDPOINT" in record.getMessage()


def test_files_are_looked_into(tmp_path: Path) -> None:
    """A valid certificate passes; a missing one is reported with the reason."""
    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\n")
    assert list(problems({"OTEL_EXPORTER_OTLP_CERTIFICATE": str(file)})) == []
    (text,) = problems({"OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path)})
    assert "Is a directory" in text


@pytest.mark.parametrize(
    ("environment", "traces", "metrics"),
    [
        ({}, (), ()),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, (), ()),
        (ASKED, ("otlp_proto_grpc",), ("otlp_proto_grpc",)),
        ({**ASKED, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, ("otlp_proto_http",), ("otlp_proto_http",)),
        ({**ASKED, "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf"}, ("otlp_proto_grpc",), ("otlp_proto_http",)),
        ({**ASKED, "OTEL_TRACES_EXPORTER": "otlp, console"}, ("otlp_proto_grpc", "console"), ("otlp_proto_grpc",)),
        ({**ASKED, "OTEL_TRACES_EXPORTER": "otlp,otlp_proto_grpc"}, ("otlp_proto_grpc",), ("otlp_proto_grpc",)),
        ({**ASKED, "OTEL_TRACES_EXPORTER": "none"}, (), ("otlp_proto_grpc",)),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, (), ("prometheus",)),
        ({**ASKED, "OTEL_SDK_DISABLED": "true"}, (), ()),
    ],
)
def test_exporters_are_chosen_by_entry_point(environment: dict[str, str], traces: tuple[str, ...], metrics: tuple[str, ...]) -> None:
    """By name; several; none; `otlp` by the protocol."""
    assert (exporter_names(environment, "TRACES"), exporter_names(environment, "METRICS")) == (traces, metrics)


def test_otlp_over_http_takes_a_url() -> None:
    """HOST:PORT is valid for gRPC only."""
    (text, _) = problems({"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"})
    assert text.startswith("OTEL_EXPORTER_OTLP_ENDPOINT: takes http://")


def test_spans_go_to_every_exporter_with_the_operators_name() -> None:
    """Over HTTP to a collector, and to standard output; the operator's service name and resource are used."""
    code = "telemetry.tracer.start_span('one').end()"
    with collector() as (endpoint, received):
        environment = {
            "OTEL_TRACES_EXPORTER": "otlp,console",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_SERVICE_NAME": "lobby-relay",
            "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=told,deployment.environment=test",
        }
        shown = run_with_telemetry(code, environment)
    (body,) = received["/v1/traces"]
    for text in ("lobby-relay", "told", "1.2.3", "deployment.environment"):
        assert text.encode() in body and text in shown
    for text in ("relay-server", "minted"):
        assert text.encode() not in body and text not in shown


def test_prometheus_reads_metrics_on_this_machine(unused_tcp_port: int) -> None:
    """The exporter of the extra `prometheus`, on loopback by default."""
    pytest.importorskip("opentelemetry.exporter.prometheus", reason="the extra `prometheus` is not installed")
    code = "telemetry.meter.create_counter('avatar.test').add(3)\n"
    code += "print(urlopen('http://127.0.0.1:' + os.environ['OTEL_EXPORTER_PROMETHEUS_PORT'] + '/metrics').read().decode())\n"
    code += "print(*[line.split()[1] for line in open('/proc/self/net/tcp') if line.split()[3] == '0A'])"
    shown = run_with_telemetry(code, {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": str(unused_tcp_port)})
    assert 'service_name="relay-server"' in shown
    assert any(line.startswith("avatar_test_total{") and line.endswith(" 3.0") for line in shown.splitlines())
    assert f"0100007F:{unused_tcp_port:04X}" in shown and f"00000000:{unused_tcp_port:04X}" not in shown


def run_with_telemetry(code: str, environment: dict[str, str]) -> str:
    """Return the output of a new Python that starts telemetry and runs code; it writes nothing to standard error."""
    code = f"import os\nfrom urllib.request import urlopen\nfrom avatar_relay.tracing import start_telemetry\ntelemetry = {START}\n{code}\n"
    code += "telemetry.shutdown()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


START = "start_telemetry('relay-server', 'minted', '1.2.3', os.environ)"


@contextmanager
def collector() -> Iterator[tuple[str, dict[str, list[bytes]]]]:
    """A collector for OTLP over HTTP: its address, and the received data by path."""
    received: dict[str, list[bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.setdefault(self.path, []).append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()
