"""What the face shows when a picture is displayed: the pose of the PTS that will be heard then.

If motion is missing, sound moves the mouth (`motion.audio_mouth`). The rest of the pose is held while more motion may come, and returns to
rest if none can (the conversation was ended, or is audio only). A device that does not analyse sound holds or rests the whole pose.
"""

from __future__ import annotations

from edge_client.audio.playout_clock import ClockReader, PlayoutClock
from edge_client.audio.timeline import Position, Timeline
from edge_client.motion.audio_mouth import with_mouth
from edge_client.motion.expressions import NO_MOOD, MoodFade, with_mood
from edge_client.motion.gestures import AT_REST, GestureFade, with_gesture
from edge_client.motion.pose import Pose, neutral_pose
from edge_client.motion.transition import Driver, Transition
from edge_client.playback.events import PlayerState, View
from edge_client.playback.playing import Playing


class FaceView:
    """Computes views of the face. Not thread-safe: the engine guards it."""

    def __init__(self, timeline: Timeline, clock: PlayoutClock) -> None:
        self._timeline = timeline
        self._reader = ClockReader(clock)
        self._transition = Transition()
        self._mood = MoodFade()
        self._gesture = GestureFade()

    def heard(self, now_us: int, playing: dict[str, Playing]) -> Position | None:
        """What is heard of a live conversation at `now_us`, which must not be in the future."""
        frame = self._reader.frame_at(now_us)
        position = self._timeline.at(frame) if frame is not None else None
        heard = playing.get(position.conversation_id) if position is not None else None
        return position if heard is not None and heard.started else None

    def at(self, now_us: int, playing: dict[str, Playing], *, head_id: str | None, state: PlayerState) -> View:
        """The view at `now_us`, which may be in the near future, or before the time of the last call."""
        frame = self._reader.predicted_at(now_us)
        position = self._timeline.at(frame) if frame is not None else None
        heard = playing.get(position.conversation_id) if position is not None else None
        if position is None or heard is None or not (heard.started or position.pts_us > 0):
            self._mood.step(NO_MOOD, now_us)
            self._gesture.step(AT_REST, now_us)
            blend = self._transition.step(Driver.IDLE, None, now_us)
            return View(state, head_id, None, blend.pose if blend.weight > 0 else None, blend.weight, None)
        driver, pose, shown_us = _drive(heard, position.pts_us)
        mood = self._mood.step(heard.mood, now_us)
        gesture = self._gesture.step(heard.gesture(position.pts_us), now_us)
        pose = None if pose is None else with_gesture(with_mood(pose, mood), gesture)
        blend = self._transition.step(driver, pose, now_us)
        motion = blend.pose if blend.weight > 0 else None
        return View(state, position.conversation_id, position.pts_us, motion, blend.weight, shown_us)


def _drive(playing: Playing, pts_us: int) -> tuple[Driver, Pose | None, int | None]:
    """Motion has priority; sound moves its share of the mouth, or all of it while motion is missing."""
    heard = playing.audio_mouth.sample(pts_us) if playing.audio_mouth is not None else None
    said = playing.motion.track.sample(pts_us) if playing.motion is not None else None
    if said is not None and not (said.covered or playing.expects_motion):
        said = None
    if playing.audio_mouth is not None and heard is not None and heard.covered:
        if said is None or not said.covered:
            return Driver.SOUND, with_mouth(neutral_pose() if said is None else said.pose, heard.pose, 1.0), heard.pts_us
        if playing.audio_mouth.share:
            return Driver.MOTION, with_mouth(said.pose, heard.pose, playing.audio_mouth.share), said.pts_us
    if said is None:
        return Driver.IDLE, None, None
    return (Driver.MOTION if said.covered else Driver.HELD), said.pose, said.pts_us
