"""The compose file and its collector, as far as testable without containers: our own programs parse our settings."""

from __future__ import annotations

import re
from typing import Any

import yaml  # type: ignore[import-untyped]

from avatar_relay.otel_settings import exporter_names, problems
from relay_server.cli import build_parser, load_config
from tests.lab.data import PROJECT_ROOT

SYSTEM = PROJECT_ROOT / "system"
COMPOSE: Any = yaml.safe_load((SYSTEM / "compose.yaml").read_text(encoding="utf-8"))
RELAY, COLLECTOR = COMPOSE["services"]["relay"], COMPOSE["services"]["collector"]
CONTAINERFILE = (SYSTEM / "Containerfile").read_text(encoding="utf-8")


def published(service: Any) -> dict[str, str]:
    """Map published ports to ports of the container."""
    return dict(port.rsplit(":", 1) for port in service["ports"])


def test_the_relay_takes_its_settings() -> None:
    """Its flags and variables; it is not reachable at any port except those published on this machine."""
    environment = {name: str(value) for name, value in RELAY["environment"].items()}
    config = load_config(build_parser().parse_args(RELAY["command"]), environment)
    assert (config.listen, config.log_format, config.log_level) == ("0.0.0.0:52000", "json", "info")
    assert list(problems(environment)) == []
    assert exporter_names(environment, "TRACES") == exporter_names(environment, "METRICS") == ("otlp_proto_grpc",)
    assert published(RELAY) == {"127.0.0.1:52000": config.listen.rpartition(":")[2]}
    assert "EXPOSE 52000\n" in CONTAINERFILE and '"127.0.0.1:52000", "health"' in CONTAINERFILE


def test_files_that_are_named_exist() -> None:
    """Paths are relative to the compose file."""
    context = (SYSTEM / RELAY["build"]["context"]).resolve()
    assert context == PROJECT_ROOT and (context / RELAY["build"]["dockerfile"]).read_text(encoding="utf-8") == CONTAINERFILE
    (mount,) = COLLECTOR["volumes"]
    host, inside, mode = mount.split(":")
    assert (SYSTEM / host).is_file() and inside == "/etc/otelcol/config.yaml" and mode == "ro"
    assert re.fullmatch(r"docker\.io/otel/opentelemetry-collector:\d+\.\d+\.\d+", COLLECTOR["image"])


def test_nothing_is_written_and_nothing_published_beyond_this_machine() -> None:
    for service in COMPOSE["services"].values():
        assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        assert all(place.startswith("127.0.0.1:") for place in published(service))


def test_the_collector_takes_what_the_relay_sends() -> None:
    """At the port it is sent to; each component in a pipeline is declared, and each declared component is used."""
    config: Any = yaml.safe_load((SYSTEM / "otel-collector.yaml").read_text(encoding="utf-8"))
    endpoint = config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]
    assert RELAY["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == f"http://collector:{endpoint.rpartition(':')[2]}"
    assert set(published(COLLECTOR).values()) == {
        endpoint.rpartition(":")[2],
        config["exporters"]["prometheus"]["endpoint"].rpartition(":")[2],
    }
    pipelines = config["service"]["pipelines"]
    assert set(pipelines) == {"traces", "metrics"}
    for kind in ("receivers", "processors", "exporters"):
        assert {name for pipeline in pipelines.values() for name in pipeline[kind]} == set(config[kind])
    assert all(pipeline["processors"][0] == "memory_limiter" for pipeline in pipelines.values()), "it has to come first"
