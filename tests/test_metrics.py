"""Metrics, their page, the dashboard and the alert rules: each uses exported names, and a real Prometheus accepts it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scripts.metrics_page import ATTRIBUTES, MEANINGS, PAGE, metrics_of_programs, page, prometheus_names
from tests.lab.backend import CLIP
from tests.lab.data import PROJECT_ROOT
from tests.lab.programs import START_S, attached, python, running

DASHBOARD, ALERTS = PROJECT_ROOT / "system" / "grafana-dashboard.json", PROJECT_ROOT / "system" / "prometheus-alerts.yaml"
NOT_OURS = {"up"}
"""Series created by Prometheus itself."""
OF_PROMETHEUS = {"le", "instance", "job"}
ONLY_IN_TROUBLE = re.compile("faults|dropped|unknown|restarts|unanswered|alarms|underruns|certificate")
"""Metrics that may be absent from a good run."""
_WORDS = {"sum", "by", "or", "rate", "increase", "histogram_quantile"}


@pytest.fixture(scope="module")
def names() -> dict[str, str]:
    """Map each metric's name in Prometheus, without a histogram's suffixes, to its own name."""
    return {own: theirs for found in metrics_of_programs().values() for own, theirs in prometheus_names(found).items()}


def expressions() -> Iterator[tuple[str, str]]:
    """All expressions of dashboard and alerts, with their locations."""
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m").replace("$__range", "1h")
    for name, text in re.findall(r"- alert: (\w+)\n\s+expr: '(.*)'\n", ALERTS.read_text(encoding="utf-8")):
        yield name, text.replace("''", "'")


EXPRESSIONS = dict(enumerate(expressions()))


def words(expression: str) -> set[str]:
    """Names of series and labels in an expression."""
    return set(re.findall(r"[a-z_]{2,}", re.sub(r'"[^"]*"|\[\w+\]', "", expression))) - _WORDS


def test_the_page_is_what_the_code_says() -> None:
    """`scripts/metrics_page` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_metric_and_attribute_is_explained() -> None:
    """Each has a unit and a text; the tables of the page contain no others."""
    found = [one for made in metrics_of_programs().values() for one in made]
    assert {one.name for one in found} == set(ATTRIBUTES)
    assert [one for one in found if not one.unit or not one.text] == []
    assert {attribute for attributes in ATTRIBUTES.values() for attribute in attributes} == set(MEANINGS)


@pytest.mark.parametrize("number", EXPRESSIONS)
def test_an_expression_names_series_and_labels_that_are_exported(number: int, names: dict[str, str]) -> None:
    """The labels belong to the same metric."""
    place, expression = EXPRESSIONS[number]
    used = words(expression)
    series = {own: theirs for own, theirs in names.items() if any(re.fullmatch(rf"{theirs}(_bucket|_sum|_count)?", word) for word in used)}
    labels = {attribute.replace(".", "_") for own in series for attribute in ATTRIBUTES[own]} | OF_PROMETHEUS
    unknown = {word for word in used if word not in labels | NOT_OURS and not any(word.startswith(theirs) for theirs in series.values())}
    assert series or used & NOT_OURS, place
    assert unknown == set(), place


def test_every_alert_and_panel_is_read() -> None:
    """No expression is left unchecked."""
    assert ALERTS.read_text(encoding="utf-8").count("- alert:") + sum(
        len(panel["targets"]) for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    ) == len(EXPRESSIONS)


# --- a real run -----------------------------------------------------------------------------------------------------


def fetched(url: str) -> str:
    """Fetch a page."""
    with urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


async def until(condition: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """Poll twice a second until a condition holds."""
    while True:
        if await condition():
            return
        await asyncio.sleep(0.5)


async def has_finished(metrics: str) -> bool:
    """Whether a conversation has finished."""
    return "avatar_conversations_finished_total{" in await asyncio.to_thread(fetched, metrics)


@asynccontextmanager
async def pair(folder: Path, ports: tuple[int, int]) -> AsyncIterator[None]:
    """A relay and a device with metrics on two ports, after a conversation."""

    def environment(port: int) -> dict[str, str]:
        return {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_PROMETHEUS_PORT": str(port)}

    metrics = f"http://127.0.0.1:{ports[0]}/metrics"
    relay_command = [*python("relay_server"), "--listen", "127.0.0.1:0", "--speech-folder", str(CLIP.parent)]
    async with running("relay", relay_command, folder / "relay.log", environment(ports[0])) as relay:
        address = (await relay.wait_for(r"listening on (\S+)", START_S))[1]
        edge_command = [*python("edge_client"), "--relay", address, "--device-id", "lobby", "--headless"]
        async with running("edge", edge_command, folder / "edge.log", environment(ports[1])):
            async with asyncio.timeout(START_S):
                await attached(address, "lobby")
            play = [*python("relay_server.relayctl.cli"), "--relay", address, "play", "lobby", CLIP.name]
            async with running("relayctl", play, folder / "relayctl.log", {}) as relayctl:
                await relayctl.wait(50)
            async with asyncio.timeout(START_S):  # the clip was published; now it plays
                await until(lambda: has_finished(metrics))
            yield


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_real_run_exports_what_the_page_says(tmp_path: Path, unused_tcp_port_factory: Any, names: dict[str, str]) -> None:
    """No metric or attribute is missing from the page; each metric of a good run exists; a real Prometheus accepts each expression."""
    ports = (unused_tcp_port_factory(), unused_tcp_port_factory())
    async with pair(tmp_path, ports):
        seen: dict[str, set[str]] = {}
        for port in ports:
            for family in text_string_to_metric_families(await asyncio.to_thread(fetched, f"http://127.0.0.1:{port}/metrics")):
                if family.name.startswith("avatar_"):
                    labels = {label for sample in family.samples for label in sample.labels}
                    seen.setdefault(family.name, set()).update(label for label in labels if label.startswith("avatar_"))
        plain = {theirs.removesuffix("_total"): own for own, theirs in names.items()}
        assert set(seen) <= set(plain)
        for name, labels in seen.items():
            assert labels <= {attribute.replace(".", "_") for attribute in ATTRIBUTES[plain[name]]}, name
        assert {name for name in set(plain) - set(seen) if not ONLY_IN_TROUBLE.search(name)} == set()
        if (program := shutil.which("prometheus")) is not None:
            await query_all(program, tmp_path, ports, unused_tcp_port_factory())


async def query_all(program: str, folder: Path, ports: tuple[int, int], port: int) -> None:
    """Scrape both programs and query each expression; one with a metric of a good run must return something."""
    jobs = [
        f"  - {{job_name: {job}, static_configs: [{{targets: ['127.0.0.1:{at}']}}]}}"
        for job, at in zip(("relay", "device"), ports, strict=True)
    ]
    config = folder / "prometheus.yaml"
    config.write_text("\n".join([f"global: {{scrape_interval: 1s}}\nrule_files: ['{ALERTS}']\nscrape_configs:", *jobs, ""]))
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    async with running("prometheus", command, folder / "prometheus.log", {}) as server:
        await server.wait_for("Server is ready", 30)
        for place, expression in EXPRESSIONS.values():
            may_be_empty = re.search("[<>=]=? ?[0-9]", expression) or ONLY_IN_TROUBLE.search(expression)
            async with asyncio.timeout(30):  # a rate takes two scrapes
                await until(partial(gives, f"http://127.0.0.1:{port}", place, expression, bool(may_be_empty)))


async def gives(server: str, place: str, expression: str, may_be_empty: bool) -> bool:
    """Whether an expression now returns the expected result. A server that refuses it answers with an error."""
    try:
        answer = json.loads(await asyncio.to_thread(fetched, f"{server}/api/v1/query?query={quote(expression)}"))
    except HTTPError as error:
        raise AssertionError(f"{place}: {expression}: {error.read().decode()}") from error
    return may_be_empty or bool(answer["data"]["result"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool; install Debian's prometheus")
def test_promtool_takes_the_rules() -> None:
    """Syntax, types and templates."""
    subprocess.run(["promtool", "check", "rules", ALERTS], check=True, capture_output=True, timeout=30)
