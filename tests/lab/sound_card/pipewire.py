"""A private PipeWire with one null sink, and WirePlumber, which links clients to it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.lab.sound_card.paced_card import RATE_HZ
from tests.lab.sound_card.sound_server import SoundServer

PLUGIN = "libasound_module_pcm_pipewire.so"
PLUGIN_VARIABLE = "PIPEWIRE_ALSA_PLUGIN"
"""Path of the plug-in if it is not installed: Debian 12's package conflicts with PulseAudio."""
PROGRAMS = ("pipewire", "wireplumber", "dbus-run-session")
CONFIG = f"""
context.properties = {{ core.daemon = true core.name = pipewire-0 default.clock.rate = {RATE_HZ} log.level = 2 }}
context.spa-libs = {{ audio.convert.* = audioconvert/libspa-audioconvert support.* = support/libspa-support }}
context.modules = [
  {{ name = libpipewire-module-protocol-native }}
  {{ name = libpipewire-module-metadata }}
  {{ name = libpipewire-module-spa-node-factory }}
  {{ name = libpipewire-module-client-node }}
  {{ name = libpipewire-module-access }}
  {{ name = libpipewire-module-adapter }}
  {{ name = libpipewire-module-link-factory }}
  {{ name = libpipewire-module-session-manager }}
]
context.objects = [
  {{ factory = spa-node-factory args = {{ factory.name = support.node.driver node.name = Dummy-Driver priority.driver = 20000 }} }}
  {{ factory = adapter args = {{ factory.name = support.null-audio-sink node.name = out media.class = Audio/Sink
    object.linger = true audio.position = [ MONO ] }} }}
]
"""


def find_plugin() -> Path | None:
    """Find ALSA's plug-in for PipeWire, from the package `pipewire-alsa`; None if it is missing."""
    if named := os.environ.get(PLUGIN_VARIABLE):
        return Path(named)
    return next(Path("/usr/lib").glob(f"*/alsa-lib/{PLUGIN}"), None)


class PipeWireServer(SoundServer):
    """PipeWire with a session manager."""

    def __init__(self, folder: Path) -> None:
        """Skips the test if a required program is not installed."""
        plugin = find_plugin()
        if plugin is None or any(shutil.which(program) is None for program in PROGRAMS):
            pytest.skip(f"no PipeWire: apt-get install pipewire wireplumber pipewire-alsa dbus; or {PLUGIN_VARIABLE}=…/{PLUGIN}")
        super().__init__(folder, f'pcm_type.pipewire {{ lib "{plugin}" }}\npcm.!default {{ type pipewire }}', {})
        self._config = folder / "pipewire.conf"
        self._config.write_text(CONFIG, encoding="ascii")

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        socket = self.folder / "pipewire-0"
        socket.unlink(missing_ok=True)
        self.launch(["pipewire", "-c", str(self._config)], {})
        self.wait_for(socket)
        self.launch(["dbus-run-session", "--", "wireplumber"], {})
