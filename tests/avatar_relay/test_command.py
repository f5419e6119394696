"""How a command handles an error, wherever it was raised, and its environment."""

from __future__ import annotations

import pytest

from avatar_relay.command import errors_in_one_line, prepare_process


class WrongSettingError(Exception):
    """A known user error of a program."""


def groups(*errors: Exception) -> ExceptionGroup[Exception]:
    """Wrapped as by two task groups."""
    return ExceptionGroup("outer", [ExceptionGroup("inner", errors)])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (WrongSettingError("listen: taken"), "listen: taken"),
        (groups(WrongSettingError("listen: taken")), "listen: taken"),
        (groups(WrongSettingError("first"), FileNotFoundError(2, "No such file", "/x")), "first"),
        (FileNotFoundError(2, "No such file", "/x"), "/x: No such file"),
        (OSError("odd"), "odd"),
        (WrongSettingError("two\nlines, \x1b[31mred"), "two lines, ?[31mred"),
        (WrongSettingError(), "WrongSettingError"),
    ],
)
def test_a_known_error_is_one_line(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2."""
    with pytest.raises(SystemExit) as caught, errors_in_one_line("program", WrongSettingError, OSError):
        raise error
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"program: error: {line}\n"


@pytest.mark.parametrize("error", [KeyError("x"), groups(WrongSettingError("x"), KeyError("x"))])
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    """Also if a known error came with it."""
    with pytest.raises(type(error)) as caught, errors_in_one_line("program", WrongSettingError):
        raise error
    assert caught.value is error


def test_an_interrupt_is_no_traceback() -> None:
    """Status 130, as in a shell."""
    with pytest.raises(SystemExit) as caught, errors_in_one_line("program"):
        raise KeyboardInterrupt
    assert caught.value.code == 130


@pytest.mark.parametrize(
    ("removed", "compression"),
    [
        ({"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "None"}, {}),
        ({"OTEL_EXPORTER_OTLP_COMPRESSION": "none"}, {"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip"}),
        ({}, {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "none"}),
    ],
)
def test_empty_variables_of_opentelemetry_are_removed(removed: dict[str, str], compression: dict[str, str]) -> None:
    """So is no compression, which the SDK would refuse, unless it makes one signal differ from the others. Others stay."""
    stay = {"OTEL_C": "c", "OTHER": "", "OTEL_TRACES_EXPORTER": "none", **compression}
    environment = {"OTEL_A": "", "OTEL_B": " ", **removed, **stay}
    prepare_process(environment)
    assert {name: value for name, value in environment.items() if not name.startswith("GRPC_")} == stay


def test_variables_of_grpc_are_set_unless_the_user_did() -> None:
    """Its log is off, names are resolved by the system, and servers read on the thread that polls."""
    environment: dict[str, str] = {}
    prepare_process(environment)
    assert environment == {
        "GRPC_VERBOSITY": "NONE",
        "GRPC_DNS_RESOLVER": "native",
        "GRPC_EXPERIMENTS": "-event_engine_listener",
    }
    asked = {"GRPC_VERBOSITY": "debug", "GRPC_DNS_RESOLVER": "ares", "GRPC_EXPERIMENTS": ""}
    expected = dict(asked)
    prepare_process(asked)
    assert asked == expected
