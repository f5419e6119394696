"""The demo's report: both programs' figures in one file, and a short text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.lab.backend import Published
from tests.lab.programs import ProgramError

FROM_DEVICE = (
    "audio_seconds_played",
    "underruns",
    "late_payloads",
    "dropped_payloads",
    "keyframes_received",
    "frames_shown",
    "frames_per_second",
    "skew_ms",
    "longest_hold_ms",
    "audio_sink",
    "renderer",
)
"""Keys of `summary.json` that come from the edge client."""
PICTURES = ("played.wav", "face.gif", "contact-sheet.png", "skew.png")
"""Files that the edge client writes."""


LEFT_BEHIND = (*PICTURES, "edge-summary.json", "trace.json", "summary.json", "relay.log", "edge.log")
"""All files of a run; removed before the next one, so that no old file is mistaken for a new one."""


def write_summary(out: Path, published: Published) -> dict[str, Any]:
    """Write `summary.json` from both sides' figures. Raises `ProgramError` if a key of the edge client is missing."""
    path = out / "edge-summary.json"
    missing = [name for name in (*PICTURES, path.name) if not (out / name).is_file() or (out / name).stat().st_size == 0]
    if missing:
        raise ProgramError(f"the edge client did not write {', '.join(missing)}; see {out / 'edge.log'}")
    edge = json.loads(path.read_text())
    absent = [key for key in FROM_DEVICE if key not in edge]
    if absent:
        raise ProgramError(f"{path} says nothing of {', '.join(absent)}")
    summary = {
        "conversation_id": published.conversation_id,
        "trace_id": published.trace_id,
        "audio_seconds_sent": round(published.audio_seconds, 3),
        "time_to_first_audio_ms": published.first_audio_ms,
        **{key: edge[key] for key in FROM_DEVICE},
        "playback_finished": {
            "position_ms": published.position_ms,
            "interrupted": published.interrupted,
            "reason": published.reason,
        },
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    path.unlink()
    return summary


def tell(summary: dict[str, Any], published: Published, spans: int, out: Path) -> str:
    """Summarize the run in a few lines."""
    skew, finished, first = summary["skew_ms"], summary["playback_finished"], summary["time_to_first_audio_ms"]
    heard = f"{summary['audio_seconds_played']:.2f} of {summary['audio_seconds_sent']:.2f} s, {finished['reason']}"
    waited = "no sound" if first is None else f"first sound after {first:.0f} ms"
    lines = {
        "Spoke": published.speech,
        "Heard": f"{heard}; {waited}, {summary['underruns']} underruns, {summary['dropped_payloads']} payloads dropped",
        "Seen": f"{summary['frames_shown']} pictures, {summary['frames_per_second']:.1f} a second; {summary['keyframes_received']} poses",
        "Lip-sync": f"skew p50 {skew['p50']:.1f} ms, p95 {skew['p95']:.1f} ms, p99 {skew['p99']:.1f} ms, at most {skew['max_abs']:.1f} ms",
        "Sound by": summary["audio_sink"],
        "Drawn by": summary["renderer"],
        "Trace": f"{summary['trace_id'] or 'none'}, {spans} spans",
        "Look at": f"{out}: contact-sheet.png, face.gif, skew.png, played.wav, trace.json, summary.json",
    }
    return "\n" + "\n".join(f"{title:9} {text}" for title, text in lines.items())
