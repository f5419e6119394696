"""Device and relay agree on the volume after any cut, loss or restart: the device's files against the relay's records."""

from __future__ import annotations

import contextlib
import random
from collections import deque
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from avatar_relay.messages import Volume
from edge_client.volume import StoredVolume, settings_file
from relay_server.core.volume_record import VolumeRecord
from tests.lab.power_cut import DiskStandIn, PowerCutError

GAINS = st.sampled_from([0.0, 0.25, 0.5, 1.0])


class Pair(RuleBasedStateMachine):
    """One device and one relay, with a stream that may break at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = DiskStandIn()
        self.relay = VolumeRecord("lobby")
        self.to_device: deque[Volume] | None = None
        self.to_relay: deque[Volume] = deque()
        self.allowed = {(1.0, False)}
        """Valid volumes of the device once all is settled."""
        self.begin()

    def begin(self) -> None:
        self.device = StoredVolume(settings_file(Path("/state"), "lobby", self.disk))

    def detach(self) -> None:
        self.to_device = None
        self.to_relay.clear()

    @rule(gain=GAINS, muted=st.booleans())
    def command(self, gain: float, muted: bool) -> None:
        self.relay.set(Volume(gain, muted))
        self.allowed = {(gain, muted)}
        if self.to_device is not None:
            self.to_device.append(self.relay.volume)

    @precondition(lambda self: self.to_device is None)
    @rule()
    def attach(self) -> None:
        self.relay.hello(self.device.volume)
        self.to_device = deque()
        self.device.welcome(self.relay.volume)

    @rule()
    def lose_stream(self) -> None:
        self.detach()

    @rule()
    def deliver(self) -> None:
        if self.to_device:
            self.device.set(self.to_device.popleft())
        if self.to_relay:
            self.relay.told(self.to_relay.popleft())

    @rule()
    def write(self) -> None:
        self.device.close()
        if (news := self.device.news()) is not None and self.to_device is not None:
            self.to_relay.append(news)

    @rule()
    def restart_device(self) -> None:
        self.detach()
        self.device.close()
        self.begin()

    @rule(step=st.integers(0, 6), choice=st.randoms(use_true_random=False))
    def cut_power(self, step: int, choice: random.Random) -> None:
        """The device loses power during a write or before it; what was reported to the relay is on the disk."""
        self.detach()
        self.disk.steps_left = step
        with contextlib.suppress(PowerCutError):
            self.device.close()
        outcomes = list(self.disk.after_power_cut())
        self.disk = outcomes[choice.randrange(len(outcomes))]
        self.begin()

    @rule()
    def restart_relay(self) -> None:
        """Commands the device has not received are lost. The restart takes longer than the device's write."""
        self.detach()
        self.device.close()
        self.relay = VolumeRecord("lobby")
        self.allowed = {_pair(self.device.volume)}

    @invariant()
    def confirmed_is_on_the_disk(self) -> None:
        """However the power is cut now, the device restarts with the volume that the relay has recorded as confirmed."""
        if not self.relay.pending and self.relay.volume.revision:
            for after in self.disk.after_power_cut():
                found = StoredVolume(settings_file(Path("/state"), "lobby", after)).volume
                assert _pair(found) == _pair(self.relay.volume)

    def teardown(self) -> None:
        if self.to_device is None:
            self.attach()
        for _ in range(3):
            while self.to_device or self.to_relay:
                self.deliver()
            self.write()
        assert not self.relay.pending
        assert _pair(self.device.volume) == _pair(self.relay.volume)
        assert _pair(self.device.volume) in self.allowed


def _pair(volume: Volume) -> tuple[float, bool]:
    return volume.gain, volume.muted


TestPair = Pair.TestCase
TestPair.settings = settings(max_examples=40, stateful_step_count=30)
