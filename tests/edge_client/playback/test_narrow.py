"""Sound that arrives slower than real time."""

from __future__ import annotations

import numpy as np

from avatar_relay.media import Kind
from avatar_relay.messages import ConversationEnd, Finished, Media, Stalled
from tests.edge_client.playback_bench import RATE_HZ, Bench, audio_payloads, noise, open_

SECONDS = 4


def test_it_is_heard_in_ever_longer_stretches() -> None:
    """20 ms arrive every 100 ms: there are pauses, but not one in each word; all of it is played, and each pause is reported."""
    bench = Bench()
    bench.handle(open_("a"))
    payloads = audio_payloads(noise(SECONDS * RATE_HZ))
    for payload in payloads:
        bench.handle(Media("a", (payload,)))
        bench.run(100_000)
    bench.handle(ConversationEnd("a", len(payloads), 0))
    bench.run(3_000_000)
    (finished,) = bench.finished("a")
    assert finished == Finished(SECONDS * 1_000_000, False, "completed")
    told = [event for event in bench.events("a") if isinstance(event, Stalled) and event.kind is Kind.AUDIO]
    assert told == [Stalled(True, Kind.AUDIO), Stalled(False, Kind.AUDIO)] * (len(told) // 2)
    assert 6 <= len(told) // 2 <= 12
    quiet = np.flatnonzero(bench.played == 0)
    assert np.count_nonzero(np.diff(quiet) > 1) <= 24
