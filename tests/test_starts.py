"""Failing starts, by running the commands: one line on standard error that states the fault, and status 2."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from avatar_relay.command import CONTEXT
from tests.avatar_relay.test_otel_settings import WRONG
from tests.avatar_relay.test_pem import make_pem_files
from tests.lab.data import PROJECT_ROOT

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")

MODULES = {"relay-server": "relay_server", "edge-client": "edge_client", "relayctl": "relay_server.relayctl.cli"}
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
AT_ONCE = 3
"""Number of programs that run at the same time."""


@dataclass(frozen=True)
class Start:
    """A failing start. In arguments and values, `{files}` is replaced by the folder of `make_files`, `{port}` by a port in use."""

    program: str
    arguments: str
    words: str
    """The expected content of the line, apart from the program's name."""
    environment: Mapping[str, str] = field(default_factory=dict)
    unprivileged: bool = False


def relay(arguments: str, words: str, unprivileged: bool = False, **environment: str) -> Start:
    """A start of the relay on a free local port, unless the arguments specify another."""
    listen = "" if "--listen" in arguments else "--listen 127.0.0.1:0 "
    return Start("relay-server", listen + arguments, words, environment, unprivileged)


def tls(certificate: str, key: str = "good.key") -> str:
    """Flags of the relay for a certificate and its key."""
    return f"--tls-cert-file {{files}}/{certificate} --tls-key-file {{files}}/{key}"


def edge(arguments: str, words: str, unprivileged: bool = False, **environment: str) -> Start:
    """A start of a device without window and sound."""
    return Start("edge-client", "--headless --renderer none --relay 127.0.0.1:{port} " + arguments, words, environment, unprivileged)


def ctl(arguments: str, words: str, unprivileged: bool = False, **environment: str) -> Start:
    """A call of the operator's command."""
    return Start("relayctl", arguments, words, environment, unprivileged)


STARTS = {
    "port taken": relay("--listen 127.0.0.1:{port}", "listen: 127.0.0.1:{port} address already in use"),
    "port privileged": relay("--listen 127.0.0.1:1", "listen: 127.0.0.1:1 not allowed 1024", True),
    "name unknown": relay("--listen nosuch.invalid:0 --insecure-listen", "listen: nosuch.invalid resolved"),
    "address elsewhere": relay("--listen 192.0.2.1:0 --insecure-listen", "listen: 192.0.2.1:0 no address of this machine"),
    "address without brackets": relay("--listen ::1:0", "listen: '::1:0' [::1]:52000"),
    "port of 5000 digits": relay("--listen 127.0.0.1:" + "9" * 5_000, "listen: HOST:PORT"),
    "access file missing": relay("--access-file {files}/none.json", "--access-file: {files}/none.json"),
    "access file broken": relay("--access-file {files}/rubbish", "access_file: {files}/rubbish is not JSON"),
    "access file unreadable": relay("--access-file {files}/secret", "access_file: {files}/secret Permission denied", True),
    "access file of everybody": relay("--access-file {files}/open.json", "access_file: {files}/open.json chmod o-w"),
    "certificate missing": relay(tls("none.pem"), "--tls-cert-file: {files}/none.pem"),
    "certificate rubbish": relay(tls("rubbish"), "tls_cert_file: {files}/rubbish PEM"),
    "certificate empty": relay(tls("empty"), "tls_cert_file: {files}/empty is empty"),
    "certificate DER": relay(tls("good.der"), "tls_cert_file: {files}/good.der DER openssl x509"),
    "certificate weak": relay(tls("weak.pem", "weak.key"), "tls_cert_file: {files}/weak.pem too small"),
    "key of another": relay(tls("good.pem", "other.key"), "tls_key_file: {files}/other.key does not belong to {files}/good.pem"),
    "key encrypted": relay(tls("good.pem", "encrypted.key"), "tls_key_file: {files}/encrypted.key encrypted openssl pkey"),
    "key unreadable": relay(tls("good.pem", "secret"), "tls_key_file: {files}/secret Permission denied", True),
    "port file's folder missing": relay("--port-file {files}/none/port", "port_file: {files}/none/port No such file"),
    "relay's settings missing": relay("--config {files}/none.toml", "config: {files}/none.toml No such file"),
    "relay's settings broken": relay("--config {files}/rubbish", "config: {files}/rubbish is not TOML"),
    "relay's settings nested": relay("--config {files}/nested.toml", "config: {files}/nested.toml is not TOML"),
    "relay's setting unknown": relay("--config {files}/unknown.toml", "colour: no such setting"),
    "relay's variable misspelt": relay("", "AVATAR_RELAY_LISTNE: did you mean AVATAR_RELAY_LISTEN?", AVATAR_RELAY_LISTNE="127.0.0.1:0"),
    "relay's variable wrong": relay("", "AVATAR_RELAY_MAX_DEVICES", AVATAR_RELAY_MAX_DEVICES="9" * 5_000),
    "relay's key of an SDK missing": relay("--config {files}/sdk.toml", "spatius"),
    "device's settings missing": edge("--config {files}/none.toml", "{files}/none.toml"),
    "device's settings broken": edge("--config {files}/rubbish", "{files}/rubbish TOML"),
    "device's variable misspelt": edge("", "EDGE_CLIENT_RELAI: did you mean EDGE_CLIENT_RELAY?", EDGE_CLIENT_RELAI="127.0.0.1:1"),
    "device's setting unknown": edge("--config {files}/unknown.toml", "colour"),
    "self-test without a time": edge("self-test --within soon", "--within: 'soon' is not a number of seconds"),
    "relay's authority rubbish": edge("--tls-ca-file {files}/rubbish", "tls_ca_file: {files}/rubbish PEM"),
    "device's key of another": edge(tls("good.pem", "other.key"), "tls_key_file: {files}/other.key does not belong to"),
    "device's token empty": edge("--token-file {files}/empty", "token_file: {files}/empty holds no token"),
    "record folder unwritable": edge("--record {files}/locked/run", "record: {files}/locked/run Permission denied", True),
    "record folder without a home": edge("", "EDGE_CLIENT_RECORD: home", EDGE_CLIENT_RECORD="~nosuchuser/run"),
    "map rubbish": edge("--flame-map {files}/rubbish", "flame_map: {files}/rubbish"),
    "operator's authority rubbish": ctl("--tls-ca-file {files}/rubbish devices", "tls_ca_file: {files}/rubbish PEM"),
    "operator's key of another": ctl(tls("good.pem", "other.key") + " devices", "tls_key_file: {files}/other.key does not belong to"),
    "operator's token missing": ctl("--token-file {files}/none devices", "--token-file: there is no file {files}/none"),
    "operator's relay wrong": ctl("--relay nowhere devices", "relay: 'nowhere' HOST:PORT"),
    "operator's access file broken": ctl("device list --access-file {files}/rubbish", "access_file: {files}/rubbish is not JSON"),
    "operator's access file unwritable": ctl("device create x --access-file {files}/locked/a.json", "access_file: Permission denied", True),
    "operator's access file within a file": ctl("device create x --access-file {files}/rubbish/a", "access_file: {files}/rubbish/a"),
    "relay's flag misspelt": relay("--listne 127.0.0.1:0", "unrecognized arguments: --listne did you mean --listen?"),
    "relay's flag without a value": relay("--log-level", "--log-level: expected one argument --help"),
    "operators' port taken": relay("--admin-listen 127.0.0.1:{port}", "admin_listen: 127.0.0.1:{port} address already in use"),
    "clients' authority rubbish": relay(tls("good.pem") + " --tls-client-ca-file {files}/rubbish", "tls_client_ca_file: PEM"),
    "speech folder a file": relay("--speech-folder {files}/rubbish", "--speech-folder: {files}/rubbish is not a folder"),
    "port file's folder locked": relay("--port-file {files}/locked/port", "port_file: {files}/locked/port Permission denied", True),
    "relay's settings a folder": relay("--config {files}", "config: {files} Is a directory"),
    "relay's settings unreadable": relay("--config {files}/secret", "config: {files}/secret Permission denied", True),
    "relay's settings named wrong": relay("", "config: {files}/none.toml No such file", AVATAR_RELAY_CONFIG="{files}/none.toml"),
    "heartbeat too long": relay("--heartbeat-ms 9000", "peer_timeout_ms: heartbeat_ms"),
    "certificate without its key": relay("--tls-cert-file {files}/good.pem", "tls_cert_file and tls_key_file come together"),
    "open to the network": relay("--listen 0.0.0.0:0", "--listen: 0.0.0.0:0 insecure_listen"),
    "device's flag misspelt": edge("--hedless", "--hedless did you mean --headless?"),
    "device's command unknown": edge("dance", "invalid choice: 'dance'"),
    "device's relay wrong": edge("--relay ::1:52000", "--relay: '::1:52000' [::1]:52000"),
    "device's name wrong": edge("--device-id a/b", "--device-id: 'a/b'"),
    "device's picture too small": edge("--size 0x0", "--size: '0x0' WIDTHxHEIGHT"),
    "device's renderer unknown": edge("--renderer nosuch", "--renderer: 'nosuch'"),
    "device's token unreadable": edge("--token-file {files}/secret", "token_file: {files}/secret Permission denied", True),
    "device's key encrypted": edge(tls("good.pem", "encrypted.key"), "tls_key_file: {files}/encrypted.key encrypted"),
    "record folder a file": edge("--record {files}/rubbish", "--record: {files}/rubbish is not a folder"),
    "sound into no folder": edge("--audio-sink wav", "--audio-sink: record"),
    "operator's command unknown": ctl("dance", "invalid choice: 'dance'"),
    "operator's command missing": ctl("", "COMMAND"),
    "operator's device missing": ctl("show", "show: DEVICE"),
    "operator's token wrong": ctl("devices", "RELAYCTL_TOKEN holds no token", RELAYCTL_TOKEN="a b"),
    "operator's key missing": ctl("--tls-cert-file {files}/good.pem devices", "tls_cert_file and tls_key_file come together"),
    "operator's token in plaintext": ctl("--insecure --relay 192.0.2.1:1 devices", "insecure: plaintext", RELAYCTL_TOKEN="abcdefgh"),
    "operator's variable misspelt": ctl("devices", "RELAYCTL_TOKNE: did you mean RELAYCTL_TOKEN?", RELAYCTL_TOKNE="abcdefgh"),
}  # fmt: skip


LONG = {
    *list(STARTS)[list(STARTS).index("relay's flag without a value") :],
    *("address elsewhere", "certificate empty", "certificate weak", "key unreadable", "relay's key of an SDK missing"),
    *("device's token empty", "map rubbish", "operator's key of another", "operator's token missing"),
    "operator's access file within a file",
}
"""Starts that are not in the suite: the fault is also tested without a program."""


@pytest.fixture(scope="module")
def files() -> Iterator[Path]:
    """Files with one fault each, readable by every user: pytest's own folders are for one user."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        make_files(folder)
        yield folder


def make_files(folder: Path) -> None:
    """Create the files."""
    make_pem_files(folder)
    for key in folder.glob("*.key"):
        key.chmod(0o644)
    (folder / "secret").touch(mode=0)
    (folder / "locked").mkdir(mode=0o555)
    (folder / "open.json").write_text('{"version": 1}')
    (folder / "open.json").chmod(0o666)
    (folder / "unknown.toml").write_text('colour = "red"')
    (folder / "nested.toml").write_text("x = " + "[" * 5_000)
    (folder / "sdk.toml").write_text('[devices.a]\nsource="spatius"\n[spatius]\napp_id="a"\navatar_id="b"\nregion="c"\n')


@pytest.fixture(scope="module")
def taken() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


Outcome = tuple[subprocess.CompletedProcess[str], str]


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, files: Path, taken: int) -> Iterator[Callable[[str], Outcome]]:
    """The result of each tested start, and the expected words. They run a few at a time, ahead of their tests."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running: dict[str, Future[Outcome]] = {}
        for item in request.session.items:
            name = item.callspec.params.get("name") if isinstance(item, pytest.Function) and hasattr(item, "callspec") else None
            if name in STARTS and item.path == request.path and not why_not_here(name):
                running[name] = pool.submit(run, STARTS[name], files, taken)
        yield lambda name: running[name].result()
        for future in running.values():
            future.cancel()


def run(start: Start, files: Path, taken: int) -> Outcome:
    """Run a command to its end."""

    def filled(text: str) -> str:
        return text.replace("{files}", str(files)).replace("{port}", str(taken))

    command = [sys.executable, "-m", MODULES[start.program], *filled(start.arguments).split()]
    if start.unprivileged and os.geteuid() == 0:
        command = [*NOBODY, *command]
    given = {name: filled(value) for name, value in start.environment.items()}
    given.setdefault("XDG_STATE_HOME", str(files / "state"))  # that of the suite is not readable by everybody
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **given}
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=20, check=False)
    return done, filled(start.words)


def why_not_here(name: str) -> str:
    """Return why a start cannot be tested on this machine; empty if it can."""
    if STARTS[name].unprivileged and not can_be_unprivileged():
        return "nobody else may read this checkout, or there is no setpriv"
    if name == "port privileged" and int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) < 2:
        return "no port is privileged here"
    return ""


@functools.cache
def can_be_unprivileged() -> bool:
    """Whether a program can run as a user to whom file modes apply."""
    if os.geteuid() != 0:
        return True
    command = [*NOBODY, sys.executable, "-c", "import relay_server"]
    return shutil.which("setpriv") is not None and subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True).returncode == 0


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in STARTS])
def test_a_wrong_start_is_told_in_one_line(name: str, outcomes: Callable[[str], Outcome]) -> None:
    """The program's name, the fault and its location; status 2; no traceback, no usage, no output of gRPC itself."""
    if why := why_not_here(name):
        pytest.skip(why)
    start = STARTS[name]
    done, words = outcomes(name)
    assert done.stderr.startswith(f"{start.program}: error: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.returncode == 2
    at = 0
    for word in words.split():
        at = done.stderr.find(word, at)
        assert at >= 0, f"{word!r} is not said, or not in this order: {done.stderr}"


@pytest.mark.parametrize("program", MODULES)
def test_an_interrupt_during_the_start_leaves_no_traceback(program: str) -> None:
    """SIGINT while the program is still importing. A shell's background job ignores SIGINT, and so would its children."""
    code = (
        "import os, runpy, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Finder:\n"
        " def find_spec(self, name, *_):\n"
        "  if name == 'grpc': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"sys.argv[1:] = {['devices'] if program == 'relayctl' else []!r}\n"
        f"runpy.run_module({MODULES[program]!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout, done.stderr) in [(130, "", ""), (-signal.SIGINT, "", "")]


@pytest.mark.parametrize("program", MODULES)
def test_help_is_written_to_any_terminal(program: str) -> None:
    """Including one whose encoding is ASCII."""
    assert_help_is_printed([sys.executable, "-m", MODULES[program], "--help"], {**os.environ, "PYTHONIOENCODING": "ascii"})


@pytest.mark.slow
@pytest.mark.parametrize("program", MODULES)
def test_help_needs_neither_home_nor_a_disk_nor_a_parent(program: str) -> None:
    """As the first process of a container with a read-only file system and an empty environment."""
    command = f"mount -o remount,bind,ro / 2>/dev/null; exec {sys.executable} -m {MODULES[program]} --help"
    alone = ["unshare", "--pid", "--fork", "--mount", "--mount-proc", "sh", "-c", command]
    if os.geteuid() != 0 or subprocess.run([*alone[:-1], "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces can be made here")
    assert_help_is_printed(alone, {"LC_ALL": "C", "PATH": os.environ["PATH"]})


def assert_help_is_printed(command: list[str], environment: dict[str, str]) -> None:
    """Check for output on standard output, status 0, and nothing on standard error."""
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")


def test_an_idle_relay_is_stopped_without_a_warning() -> None:
    """SIGTERM: status 0, and nothing in the log above INFO."""
    relay = started("relay-server", ["--listen", "127.0.0.1:0", "--log-level", "info"], {})
    assert relay.stdout is not None and relay.stdout.readline().startswith("listening on ")
    relay.terminate()
    _, errors = relay.communicate(timeout=30)
    assert relay.returncode == 0
    assert all(" INFO " in line for line in errors.splitlines()) and "draining" in errors


OTEL = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
EMPTY = dict.fromkeys([name for name in WRONG if not name.endswith("_ENDPOINT")] + [CONTEXT], "")


def test_a_context_that_is_not_installed_is_one_line() -> None:
    """OpenTelemetry reads the variable when it is imported, before there is a log, and would print a traceback."""
    relay = started("relay-server", ["--listen", "127.0.0.1:0"], {CONTEXT: "nonsense"})
    assert relay.stdout is not None and relay.stdout.readline().startswith("listening on ")
    relay.kill()
    assert [line.startswith(f"warning: {CONTEXT}='nonsense': ") for line in relay.communicate()[1].splitlines()] == [True]


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "10s"}, "OTEL_EXPORTER_OTLP_TIMEOUT='10s'"),
        pytest.param({"OTEL_ATTRIBUTE_COUNT_LIMIT": "x"}, "OTEL_ATTRIBUTE_COUNT_LIMIT='x'", marks=pytest.mark.slow),
        (EMPTY, ""),
    ],
    ids=["wrong", "wrong at import", "empty"],
)
def test_variables_of_opentelemetry_do_not_keep_a_program_from_running(environment: dict[str, str], named: str, tmp_path: Path) -> None:
    """Both programs start; a wrong variable causes one log line, an empty one none."""
    relay = started("relay-server", ["--listen", "127.0.0.1:0"], {**OTEL, **environment})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        flags = ["--headless", "--renderer", "none", "--relay", "127.0.0.1:1"]
        device = started("edge-client", flags, {**OTEL, **environment, "NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert manager.recv(100) == b"READY=1"
    assert relay.stdout is not None and relay.stdout.readline().startswith("listening on ")
    for program in (relay, device):
        assert program.stderr is not None
        said = program.stderr.readline() if named else ""  # a thread writes the log: what it has not written yet is lost with the program
        program.kill()
        errors = said + program.communicate()[1]
        assert "Traceback" not in errors
        assert [line for line in errors.splitlines() if "OTEL_" in line or "opentelemetry" in line] == [
            line for line in errors.splitlines() if named and "telemetry is off" in line and named in line
        ]
        assert errors.count("telemetry is off") == bool(named)


def started(program: str, flags: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    """A running program."""
    command = [sys.executable, "-m", MODULES[program], *flags]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=PROJECT_ROOT, env={**os.environ, **environment}, stdout=pipe, stderr=pipe, text=True)
