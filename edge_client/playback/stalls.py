"""Reports when the head of the queue runs out of sound, motion or a sound device, and when that is over."""

from __future__ import annotations

from avatar_relay.media import Kind
from avatar_relay.messages import Stalled
from edge_client.audio.sink import SinkCounters
from edge_client.observer import PlaybackObserver
from edge_client.playback.playing import Playing
from edge_client.playback.playout import Playout
from edge_client.playback.reports import Reports
from edge_client.playback.sound_faults import SoundFaults


class Stalls:
    """Detects stalls. Not thread-safe; keeps its state in `Playing`.

    Sound stalls when all released sound was heard and more is to come, or when it arrives in tiny amounts; motion stalls when the pose that
    is heard has been missing for a keyframe.
    """

    def __init__(self, playout: Playout, reports: Reports, observer: PlaybackObserver) -> None:
        self._playout = playout
        self._reports = reports
        self._sound_faults = SoundFaults(reports)
        self._observer = observer
        self._counters = SinkCounters()

    def tell(self, head: Playing | None, now_us: int) -> None:
        """Check the head."""
        counters = self._playout.sink.counters()
        self._sound_faults.tell(head, counters)
        starved, dry = counters.starved - self._counters.starved, counters.device_dry - self._counters.device_dry
        self._counters = counters
        for count, cause in ((starved, "starved"), (dry, "device_dry")):
            if count:
                self._observer.underrun(count, cause)
        if head is None or head.conversation.paused:
            return
        drips = starved > 0 and not head.is_live_paced and not head.audio.ready_frames
        if head.started and not head.drained and (drips or self._playout.is_dry):
            self._tell_dry(head, now_us)
        stalled = self._lacks_motion(head)
        if stalled is not head.motion_stalled:
            head.motion_stalled = stalled
            self._reports.event(head.conversation_id, Stalled(stalled, Kind.MOTION))

    def over(self, playing: Playing) -> None:
        """End the stall: there is enough sound to continue."""
        if playing.stalled_since_us is not None:
            playing.stalled_since_us = None
            self._reports.event(playing.conversation_id, Stalled(False, Kind.AUDIO))

    def _tell_dry(self, head: Playing, now_us: int) -> None:
        if head.waits_since_us is None and head.stalled_since_us is None:
            head.primed = False
            head.times_dry += 1
            head.stalled_since_us = now_us
            self._reports.event(head.conversation_id, Stalled(True, Kind.AUDIO))

    def _lacks_motion(self, head: Playing) -> bool:
        motion = head.motion
        if motion is None or not head.expects_motion or not head.started:
            return False
        if head.waits_since_us is not None and self._playout.is_dry:
            return True
        sample = motion.track.sample(head.heard_pts_us)
        if sample is not None and sample.covered:
            return False
        missing_from_us = 0 if sample is None else sample.pts_us + motion.track.step_us
        return head.heard_pts_us - missing_from_us > motion.track.step_us
