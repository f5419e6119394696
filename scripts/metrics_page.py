"""Writes docs/metrics.md, the reference of all metrics, from the code that makes them.

Names, units and descriptions come from the programs' telemetry, Prometheus' names from its own exporter. Attributes are described
here; a test compares them with those that a relay and a device really export.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric

from avatar_relay.tracing import KIND, REASON, Telemetry
from edge_client.telemetry import EdgeTelemetry, RelayClock
from relay_server.telemetry import RelayTelemetry
from tests.lab.tool import command_line

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"

HEAD = """# Metrics

<!-- Written by scripts/metrics_page; edit the code, not this page. -->

What both programs export. How metrics are switched on: [operations.md](operations.md). `system/grafana-dashboard.json` is a dashboard of
them, `system/prometheus-alerts.yaml` has alert rules for Prometheus; tests compare both with what a relay and a device really export.

Whose a series is, Prometheus says by its own labels `job` and `instance`; the series `target_info` of each program adds `service_name`
(`relay-server`, `edge-client`) and `service_instance_id`. A histogram is three series: `…_bucket`, `…_sum`, `…_count`. The devices that are
attached are the sum over all attributes of `avatar.devices.attached`.
"""

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "avatar.relay.received": (KIND,),
    "avatar.relay.sent": (KIND,),
    "avatar.payloads.dropped": (KIND, REASON),
    "avatar.relay.queue.duration": (KIND,),
    "avatar.devices.attached": ("avatar.resumed", REASON),
    "avatar.conversations.finished": (REASON, "avatar.interrupted"),
    "avatar.faults": (REASON, "avatar.leg"),
    "avatar.messages.unknown": ("avatar.leg",),
    "avatar.device.certificate.expires_in": (),
    "avatar.relay.certificate.expires_in": (),
    "avatar.device.received": (KIND,),
    "avatar.device.dropped": (KIND, REASON),
    "avatar.device.finished": (REASON, "avatar.interrupted"),
    "avatar.device.keyframes": (),
    "avatar.device.played": (),
    "avatar.device.first_audio.duration": (),
    "avatar.skew": ("avatar.sound",),
    "avatar.skew.heard": ("avatar.sound",),
    "avatar.skew.alarms": (),
    "avatar.pictures": (),
    "avatar.underruns": ("avatar.cause",),
    "avatar.sound": ("avatar.state", "avatar.sink"),
    "avatar.sound.restarts": (),
    "avatar.face": ("avatar.state", "avatar.renderer", "avatar.place"),
    "avatar.face.restarts": (),
    "avatar.face.unanswered": (),
}
"""The attributes of each metric."""

MEANINGS = {
    KIND: "`audio` or `motion`",
    REASON: "why: a reason of `proto/avatar_relay/reasons.py`, or `completed`",
    "avatar.resumed": "a device came back to a stream that was cut",
    "avatar.interrupted": "the conversation was cut short",
    "avatar.leg": "`device`, `publisher` or another side whose stream it was",
    "avatar.sound": "which of them is ahead: the sound is `early` or `late`",
    "avatar.cause": "`starved`: content did not come in time; `device_dry`: the sound device ran dry though there was content",
    "avatar.state": "`starting`, `running`, `failing`; of sound also `unheard`",
    "avatar.sink": "what plays",
    "avatar.renderer": "`gles`, `flat`, or another one's name",
    "avatar.place": "`desktop`, `console` or `off-screen`",
}


@dataclass(frozen=True)
class MetricInfo:
    """One metric, as a program makes it."""

    name: str
    kind: str
    unit: str
    text: str


class RecordingMeter(metrics.NoOpMeter):
    """Records the created instruments."""

    def __init__(self) -> None:
        super().__init__("recording")
        self.made: list[MetricInfo] = []

    def _keep(self, kind: str, name: str, unit: str, text: str) -> None:
        self.made.append(MetricInfo(name, kind, unit, text))

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        self._keep("counter", name, unit, description)
        return super().create_counter(name, unit, description)

    def create_up_down_counter(self, name: str, unit: str = "", description: str = "") -> Any:
        self._keep("gauge", name, unit, description)
        return super().create_up_down_counter(name, unit, description)

    def create_histogram(self, name: str, unit: str = "", description: str = "", **more: Any) -> Any:
        self._keep("histogram", name, unit, description)
        return super().create_histogram(name, unit, description, **more)

    def create_observable_counter(self, name: str, callbacks: Any = None, unit: str = "", description: str = "") -> Any:
        self._keep("counter", name, unit, description)
        return super().create_observable_counter(name, callbacks, unit, description)

    def create_observable_gauge(self, name: str, callbacks: Any = None, unit: str = "", description: str = "") -> Any:
        self._keep("gauge", name, unit, description)
        return super().create_observable_gauge(name, callbacks, unit, description)


def metrics_of_programs() -> dict[str, list[MetricInfo]]:
    """All metrics of each program, in the order of its code."""
    nothing: Any = None
    relay, edge = RecordingMeter(), RecordingMeter()
    tracer = trace.NoOpTracer()
    RelayTelemetry(Telemetry(tracer, relay, True, lambda: None), lambda: 0).certificate(lambda: 0)
    device = EdgeTelemetry(Telemetry(tracer, edge, True, lambda: None), "device", lambda _: RelayClock(0, 0))
    device.watch_certificate(nothing, nothing)  # called only when metrics are read, which does not happen here
    device.watch_sound(nothing)
    device.watch_face(nothing)
    return {"relay-server": relay.made, "edge-client": edge.made}


def prometheus_names(found: Iterable[MetricInfo]) -> dict[str, str]:
    """Prometheus' name of each metric, without the suffixes of a histogram's series."""
    before = {family.name for family in REGISTRY.collect()}
    reader = PrometheusMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("page")
    wanted = list(found)
    for one in wanted:
        if one.kind == "histogram":
            meter.create_histogram(one.name, one.unit, one.text).record(1)
        elif one.kind == "counter":
            meter.create_counter(one.name, one.unit, one.text).add(1)
        else:
            meter.create_up_down_counter(one.name, one.unit, one.text).add(1)
    families = [family for family in REGISTRY.collect() if family.name not in before and family.name != "target"]
    names = {_plain(family.name): _series(family) for family in families}
    reader.shutdown()
    return {one.name: next(name for plain, name in names.items() if _matches(plain, one.name)) for one in wanted}


def _plain(name: str) -> str:
    return name.replace(".", "_")


def _matches(plain: str, name: str) -> bool:
    """Whether the names match: the exporter adds only a known unit to a name."""
    rest = plain.removeprefix(_plain(name))
    return plain != rest and rest in ("", "_bytes", "_seconds")


def _series(family: Metric) -> str:
    return family.samples[0].name if family.type != "histogram" else family.name


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for program, found in metrics_of_programs().items():
        names = prometheus_names(found)
        rows = [
            f"| `{one.name}` | `{names[one.name]}` | {one.kind} | {one.unit} | {_attributes(one.name)} | {one.text} |\n" for one in found
        ]
        parts.append(f"## {program}\n\n| metric | in Prometheus | kind | unit | attributes | |\n|---|---|---|---|---|---|\n{''.join(rows)}")
    meanings = "".join(f"| `{name}` | {text} |\n" for name, text in MEANINGS.items())
    parts.append(f"## Attributes\n\nIn Prometheus' labels dots are underscores.\n\n| attribute | |\n|---|---|\n{meanings}")
    return "\n".join(parts)


def _attributes(name: str) -> str:
    return ", ".join(f"`{attribute}`" for attribute in ATTRIBUTES[name])


def main() -> None:
    """The command."""
    command_line("metrics_page", __doc__ or "").parse_args()
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
