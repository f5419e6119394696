"""The device's figures of a run, as they go into `edge-summary.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_client.audio.sink import SinkCounters
from edge_client.face.pictures import RenderSummary
from edge_client.lip_sync.meter import SkewMeter, SkewStats
from edge_client.playback.events import ConversationSummary, PlaybackSummary

FILE_NAME = "edge-summary.json"


@dataclass(frozen=True, slots=True)
class RunFigures:
    """The data known at the end of a run. `unix_offset_us` converts readings of the monotonic clock to wall time."""

    playback: PlaybackSummary
    sink: SinkCounters
    sink_name: str
    renderer_name: str
    stage: RenderSummary | None
    skew: SkewMeter
    unix_offset_us: int


def summary_of(run: RunFigures) -> dict[str, Any]:
    """The content of the file. Figures of one conversation are those of the last one; times are None for events that did not occur."""
    playback = run.playback
    last = playback.conversations[-1] if playback.conversations else None
    return {
        "conversation_id": last.conversation_id if last else None,
        "audio_seconds_received": round(playback.audio_seconds_received, 6),
        "audio_seconds_played": round(playback.audio_seconds_played, 6),
        "underruns": playback.underruns,
        "silence_seconds": round(playback.silence_seconds, 6),
        "filled_gaps": playback.filled_gaps,
        "filled_seconds": round(playback.filled_seconds, 6),
        "payloads_received": playback.payloads_received,
        "late_payloads": playback.late_payloads,
        "dropped_payloads": playback.dropped_payloads,
        "keyframes_received": playback.keyframes_received,
        "frames_shown": run.stage.frames_shown if run.stage else 0,
        "frames_skipped": run.stage.frames_skipped if run.stage else 0,
        "frames_per_second": round(run.stage.frames_per_second, 2) if run.stage else 0.0,
        "skew_ms": _skew(run.skew.at_pictures.stats()),
        "skew_heard_ms": _skew(run.skew.at_heard.stats()),
        "longest_hold_ms": round(run.skew.longest_hold_us / 1e3, 3),
        "audio_sink": run.sink_name,
        "audio_sink_restarts": run.sink.restarts,
        "audio_sink_fault": run.sink.last_fault,
        "renderer": run.renderer_name,
        "playback_finished": _finished(last),
        "first_payload": _instant(last.first_payload_time_us if last else None, run.unix_offset_us),
        "first_audio": _instant(last.first_audio_time_us if last else None, run.unix_offset_us),
        "conversations": [_conversation(conversation, run.unix_offset_us) for conversation in playback.conversations],
    }


def write_summary(run: RunFigures, folder: Path) -> None:
    """Write the file atomically. Raises `OSError`."""
    draft = folder / (FILE_NAME + ".part")
    draft.write_text(json.dumps(summary_of(run), indent=2) + "\n", encoding="utf-8")
    draft.replace(folder / FILE_NAME)


def _skew(stats: SkewStats) -> dict[str, float] | None:
    """Summary of the skew; None if no picture with motion was shown while sound was heard."""
    if not stats.count:
        return None
    return {
        "p50": round(stats.p50_ms, 3),
        "p95": round(stats.p95_ms, 3),
        "p99": round(stats.p99_ms, 3),
        "max_abs": round(stats.max_abs_ms, 3),
        "mean": round(stats.mean_ms, 3),
        "count": stats.count,
    }


def _conversation(conversation: ConversationSummary, unix_offset_us: int) -> dict[str, Any]:
    return {
        "conversation_id": conversation.conversation_id,
        "audio_ms": conversation.audio_us / 1e3,
        "motion_ms": conversation.motion_us / 1e3,
        "opened": _instant(conversation.opened_time_us, unix_offset_us),
        "first_payload": _instant(conversation.first_payload_time_us, unix_offset_us),
        "first_audio": _instant(conversation.first_audio_time_us, unix_offset_us),
        "playback_finished": _finished(conversation),
    }


def _finished(conversation: ConversationSummary | None) -> dict[str, Any] | None:
    finished = conversation.finished if conversation is not None else None
    if finished is None:
        return None
    return {"position_ms": finished.position_us / 1e3, "interrupted": finished.interrupted, "reason": finished.reason}


def _instant(time_us: int | None, unix_offset_us: int) -> dict[str, int] | None:
    return None if time_us is None else {"monotonic_us": time_us, "unix_us": time_us + unix_offset_us}
