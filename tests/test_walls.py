"""Import rules between packages, checked by reading all sources. Anything not listed here as an adapter is pure."""

from __future__ import annotations

import pytest

from tests.lab.data import PROJECT_ROOT
from tests.wall_checks import (
    Module,
    classes_by_name,
    cycle,
    folder_cycles,
    forbidden_imports,
    generated_types,
    impurities,
    is_in,
    parse,
    read_sources,
    uses_of,
)

PROGRAMS = {"relay_server": "edge_client", "edge_client": "relay_server"}
"""Each program with the one that it never imports."""

ADAPTERS = frozenset(
    {
        # composition roots: the only places that read a clock or the environment, or start a thread or a process
        "avatar_relay.command",
        "avatar_relay.loop_thread",
        "edge_client.__main__",
        "edge_client.app",
        "edge_client.assembly",
        "edge_client.calibration.command",
        "edge_client.cli",
        "edge_client.embedded",
        "edge_client.player",
        "edge_client.tone",
        "relay_server.__main__",
        "relay_server.cli",
        "relay_server.relayctl",
        "relay_server.server",
        "relay_server.worker",
        # adapters: systemd, the log, a check for listening programs, and changes of an installation
        "avatar_relay.service_manager",
        "avatar_relay.installer",
        "avatar_relay.spoken",
        "avatar_relay.log_output",
        "avatar_relay.log_thread",
        # adapters: grpc
        "avatar_relay.grpc_sending",
        "edge_client.inputs",
        "edge_client.thread_watch",
        "edge_client.link",
        "relay_server.access.guard",
        "relay_server.access.new_devices",
        "relay_server.access.own_thread",
        "relay_server.access.refusal_log",
        "relay_server.access.store",
        "relay_server.access.tls",
        "relay_server.announcer",
        "relay_server.background",
        "relay_server.free_memory",
        "relay_server.rpc_errors",
        "avatar_relay.publisher",
        "relay_server.connections.relay",
        # adapters: NATS, and code that waits for other relays
        "relay_server.backplane",
        "relay_server.cluster",
        "relay_server.links.links",
        "relay_server.links.listener",
        "relay_server.links.socket_link",
        "relay_server.links.socket_links",
        "relay_server.service",
        "relay_server.connections",
        # adapters: child processes, and their shared address
        "relay_server.listening",
        "relay_server.workers",
        "edge_client.bounded_stderr",
        "edge_client.local_clock",
        "edge_client.checkup",
        "edge_client.children",
        # adapters: sound
        "edge_client.audio.card_memory",
        "edge_client.audio.cards",
        "edge_client.audio.devices",
        "edge_client.audio.sinks",
        "edge_client.audio.speaker",
        "edge_client.audio.sound",
        # adapters: pictures
        "edge_client.face.displays",
        "edge_client.face.flat",
        "edge_client.face.gl",
        "edge_client.face.gles",
        "edge_client.face.lettering",
        "edge_client.face.screens",
        "edge_client.face.window",
        "edge_client.face_process",
        "edge_client.head_import.command",
        "edge_client.head_import.pictures",
        "edge_client.recording",
        # adapters: Server SDKs, files
        "edge_client.paired",
        "edge_client.stored_settings",
        "edge_client.state",
        "avatar_relay.bounded_log",
        "avatar_relay.certificate_dates",
        "edge_client.volume",
        "edge_client.update_trigger",
        "avatar_relay.client_credentials",
        "avatar_relay.pem",
        "relay_server.sources",
        # adapters: OpenTelemetry
        "avatar_relay.otel_providers",
        "avatar_relay.otel_settings",
        "avatar_relay.tracing",
        "edge_client.telemetry",
        "relay_server.telemetry",
    }
)
"""Packages that may do I/O. All others are pure: no async, no I/O, no clock, no logger, and no adapter imported."""

PURE_INSIDE_ADAPTERS = frozenset(
    {
        "edge_client.audio.speaker.played_timeline",
        "edge_client.checkup.findings",
        "edge_client.children.supervision",
        "edge_client.face_process.crashes",
        "edge_client.link.clock_probe",
        "edge_client.link.pairing_code",
        "edge_client.link.report_outbox",
        "edge_client.link.retry",
        "relay_server.cluster.barriers",
        "relay_server.cluster.claims",
        "relay_server.cluster.frames",
        "relay_server.cluster.members",
        "relay_server.cluster.names",
        "relay_server.connections.clocks",
        "relay_server.workers.assignment",
        "relay_server.workers.restarts",
        "avatar_relay.installer.faults",
        "avatar_relay.installer.index",
        "avatar_relay.installer.plan",
        "avatar_relay.installer.trial",
        "avatar_relay.installer.unfinished",
        "avatar_relay.publisher.early_media",
        "avatar_relay.publisher.media_queue",
        "avatar_relay.publisher.published_conversation",
        "avatar_relay.publisher.errors",
        "avatar_relay.publisher.conversation_record",
        "avatar_relay.publisher.publisher_session",
        "avatar_relay.publisher.media_line",
        "avatar_relay.publisher.send_queue",
        "avatar_relay.publisher.heard_sound",
        "avatar_relay.publisher.playback_tracker",
        "relay_server.sources.audio2face.keyframes",
        "relay_server.sources.audio2face.mood",
        "relay_server.sources.audio2face.settings",
        "relay_server.sources.avatarkit.faults",
        "relay_server.sources.avatarkit.feed",
        "relay_server.sources.avatarkit.requests",
        "relay_server.sources.avatarkit.settings",
        "relay_server.sources.avatarkit.session_stock",
        "relay_server.sources.coarticulation",
    }
)
"""Modules in an adapter's package that are pure nevertheless."""

GUARDED = frozenset({"edge_client.playback.intake", "edge_client.playback.engine", "edge_client.playback.playout"})
"""Pure except for a lock, because several threads read them."""

WIRE = frozenset(
    {
        "avatar_relay.avatarkit",
        "avatar_relay.grpc_client",
        "avatar_relay.wire",
        "edge_client.link.attach_call",
        "avatar_relay.publisher.grpc_link",
        "edge_client.link.pairing",
        "relay_server.relayctl.commands",
        "relay_server.relayctl.device_commands",
        "relay_server.relayctl.watching",
        "relay_server.cluster.admin",
        "relay_server.cluster.passages",
        "relay_server.cluster.watching",
        "relay_server.cluster.tunnel",
        "relay_server.service",
        "relay_server.sources.audio2face.schema",
        "relay_server.sources.audio2face.wire",
    }
)
"""Packages that may use generated protobuf types."""

LEAVES = frozenset(
    {
        "avatar_relay.arkit",
        "avatar_relay.checks",
        "avatar_relay.ids",
        "avatar_relay.limits",
        "avatar_relay.reasons",
        "edge_client.errors",
    }
)
"""Modules that import none of our modules."""


@pytest.fixture(scope="module")
def house() -> dict[str, Module]:
    """Return all modules of both programs and of their contract."""
    sources = read_sources(PROJECT_ROOT / "proto", "avatar_relay")
    for program in PROGRAMS:
        sources |= read_sources(PROJECT_ROOT, program)
    return parse(sources)


def pure_rooms(modules: dict[str, Module]) -> frozenset[str]:
    """Return the packages that are not adapters."""
    return frozenset(name for name in modules if not is_in(name, ADAPTERS) or name in PURE_INSIDE_ADAPTERS)


def assert_none(found: list[str]) -> None:
    """Fail with one finding per line."""
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("program", "other"), PROGRAMS.items())
def test_programs_never_import_each_other(house: dict[str, Module], program: str, other: str) -> None:
    """What both need is in the contract, `avatar_relay`."""
    assert_none(forbidden_imports(house, frozenset({program}), frozenset({other}), "the programs do not know each other"))


def test_contract_imports_neither_program(house: dict[str, Module]) -> None:
    """`avatar_relay` is below both."""
    assert_none(forbidden_imports(house, frozenset({"avatar_relay"}), frozenset(PROGRAMS), "the contract is below the programs"))


def test_pure_rooms_are_pure(house: dict[str, Module]) -> None:
    """A pure package has no clock, I/O, thread, logger, environment or coroutine."""
    assert_none(impurities(house, pure_rooms(house) - GUARDED))


def test_guarded_rooms_are_pure_but_for_their_lock(house: dict[str, Module]) -> None:
    """They may import `threading`, but use only its locks."""
    assert_none([found for found in impurities(house, GUARDED) if "imports threading:" not in found])
    assert_none(uses_of(house, GUARDED, "threading", but=frozenset({"Lock", "RLock"})))


def test_pure_rooms_import_no_adapter(house: dict[str, Module]) -> None:
    """Imports point inwards: adapters import the core, never the reverse."""
    adapters = frozenset(house) - pure_rooms(house)
    found = [
        f"{name}:{found.line} imports {found.target}, an adapter"
        for name in sorted(pure_rooms(house))
        for found in house[name].imports
        if found.target in adapters
    ]
    assert_none(found)


def test_protobuf_types_stop_at_adapters(house: dict[str, Module]) -> None:
    """Only the packages of the wire format use generated classes."""
    assert_none(generated_types(house, WIRE))


def test_leaves_import_nothing_of_ours(house: dict[str, Module]) -> None:
    """Errors, limits and names are at the bottom."""
    assert_none(forbidden_imports(house, LEAVES, frozenset({"avatar_relay", *PROGRAMS}), "a leaf imports nothing of ours"))


def test_no_import_circles(house: dict[str, Module]) -> None:
    """Each package can be understood without those above it."""
    assert_none(cycle(house))


def test_no_cycles_between_folders(house: dict[str, Module]) -> None:
    """At every level of the tree, neighbouring folders and modules import each other in one direction only."""
    assert_none(folder_cycles(house))


def test_a_class_name_has_one_home(house: dict[str, Module]) -> None:
    """A class name means the same everywhere."""
    found = {name: homes for name, homes in classes_by_name(house).items() if len(homes) > 1}
    assert_none([f"{name}: {', '.join(homes)}" for name, homes in sorted(found.items())])


def test_lists_name_what_exists(house: dict[str, Module]) -> None:
    """A package that was removed must leave these lists."""
    listed = ADAPTERS | PURE_INSIDE_ADAPTERS | GUARDED | WIRE | LEAVES
    assert_none(sorted(room for room in listed if not any(is_in(name, frozenset({room})) for name in house)))


# --- the checker itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import asyncio", "a:1 imports asyncio"),
        ("from os import environ", "a:1 imports os"),
        ("def f():\n    import time", "a:2 imports time"),
        ("import logging.handlers", "a:1 imports logging.handlers"),
        ("async def f(): ...", "a:1 is asynchronous"),
        ("x = open('y')", "a:1 calls open"),
    ],
)
def test_checker_finds_impurities(source: str, text: str) -> None:
    """Each kind of side effect is found, inside functions too."""
    (found,) = impurities(parse({"a": source}), frozenset({"a"}))
    assert found.startswith(text)


def test_checker_lets_pure_code_pass() -> None:
    """Numbers, data classes and our own names are pure."""
    source = "import numpy as np\nfrom dataclasses import dataclass\nfrom a import timer\nimport a.open\n"
    assert_none(impurities(parse({"a.b": source, "a": ""}), frozenset({"a.b"})))


def test_checker_finds_the_other_program() -> None:
    """`from package import module` and `import package.module` both count."""
    modules = parse({"x.a": "from y import z", "x.b": "import y.z", "x.c": "import yy", "y": "", "y.z": ""})
    found = forbidden_imports(modules, frozenset({"x"}), frozenset({"y"}), "no")
    assert found == ["x.a:1 imports y.z: no", "x.b:1 imports y.z: no"]


def test_checker_finds_generated_types() -> None:
    """For all ways of importing them."""
    source = "from avatar_relay.v1 import media_pb2\nfrom avatar_relay.v1.media_pb2 import Media\nfrom google.protobuf import any_pb2\n"
    assert len(generated_types(parse({"core": source, "wire": source}), frozenset({"wire"}))) == 3


def test_checker_finds_what_is_used_of_a_module() -> None:
    """Each attribute, with its line."""
    modules = parse({"a": "import threading\nlock = threading.Lock()\nthreading.Thread()"})
    assert uses_of(modules, frozenset({"a"}), "threading", but=frozenset({"Lock"})) == ["a:3 uses threading.Thread"]


def test_checker_finds_circles() -> None:
    """Also through a third module and imports inside functions."""
    assert cycle(parse({"a": "import b", "b": "from c import x", "c": "def f():\n    import a"})) != []
    assert_none(cycle(parse({"a": "import b", "b": "from c import x", "c": ""})))


def test_checker_finds_folder_cycles() -> None:
    """Two folders that import each other by different modules; a folder's own modules do not count."""
    modules = parse({"p.a.one": "from p.b import two", "p.b.two": "", "p.b.three": "import p.a.four", "p.a.four": "import p.a.one"})
    assert folder_cycles(modules) == ["p.a <-> p.b"]
    assert folder_cycles(parse({"p.a.one": "from p.b import two", "p.b.two": ""})) == []


def test_checker_finds_classes_by_name() -> None:
    """Module-level classes, with all their modules."""
    assert classes_by_name(parse({"a": "class X: ...", "b": "class X: ...\nclass Y: ..."})) == {"X": ["a", "b"], "Y": ["b"]}


def test_checker_refuses_relative_imports() -> None:
    """They would hide imports from the reader, and from this checker."""
    with pytest.raises(ValueError, match="relative import"):
        parse({"a.b": "from . import c"})
