"""Imports all modules that a device needs, on the emulated aarch64, and prints the result."""

from __future__ import annotations

import importlib
import platform
import time

MODULES = (
    *("grpc.aio", "google.protobuf", "grpc_status.rpc_status", "opentelemetry.exporter.otlp.proto.grpc.trace_exporter"),
    *("numpy", "soxr", "opuslib_next", "pyaudio", "pygame", "OpenGL.GLES3", "PIL.Image"),
    *("avatar_relay.wire", "edge_client.audio.speaker", "edge_client.app", "edge_client.cli"),
)


def main() -> None:
    """Import each; the first that fails ends the program."""
    assert platform.machine() == "aarch64", platform.machine()
    print(f"Python {platform.python_version()} on {platform.machine()}, {' '.join(platform.libc_ver())}")
    for name in MODULES:
        begun = time.monotonic()
        module = importlib.import_module(name)
        print(f"  {name:55} {getattr(module, '__version__', ''):10} {time.monotonic() - begun:5.1f} s", flush=True)


if __name__ == "__main__":
    main()
