"""Fit the mouth models on speech of espeak-ng (`tests/lab/mouth/fitting.py`): scripts/assets/fit_mouth_model [--live] [OUT.npz]"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avatar_relay.mouth import model as local_model
from avatar_relay.mouth.model import CONTEXT_FRAMES, MOUTH_OUTPUTS, OUTPUTS, MouthModel
from avatar_relay.mouth.shapes import FUNNEL, JAW, LOWER, PUCKER, SMILE, STRETCH, UPPER
from tests.lab.mouth.fitting import SENTENCES, TAKES, VOICES, Floats, examples, fit
from tests.lab.tool import command_line

PARAMETER_NAMES = {
    JAW: "jaw",
    FUNNEL: "funnel",
    PUCKER: "pucker",
    LOWER: "lower lip",
    UPPER: "upper lip",
    STRETCH: "stretch",
    SMILE: "smile",
}


def main() -> None:
    """Synthesise the speech, fit the models, print the reports, and write the models."""
    parser = command_line("assets/fit_mouth_model", __doc__)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--live", action="store_true", help="the model that hears little beyond the moment")
    options = parser.parse_args()
    file = local_model.LIVE_MODEL_FILE if options.live else local_model.MODEL_FILE
    out: Path = options.out or Path(local_model.__file__).with_name(file)
    print(f"speaking {len(SENTENCES)} sentences in {len(VOICES)} voices, and fitting ...", flush=True)
    inputs, targets = examples(local_model.LIVE_FUTURE_FRAMES if options.live else CONTEXT_FRAMES)
    model = fit(inputs, targets)
    np.savez_compressed(out, **{name: getattr(model, name).astype(np.float32) for name in MouthModel.__slots__})
    text = report(file, model, inputs, targets)
    out.with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def report(file: str, model: MouthModel, inputs: Floats, targets: Floats) -> str:
    """Human-readable report: how the model was fitted, and its accuracy on that speech."""
    outputs = model(inputs)
    correlations = [np.corrcoef(outputs[:, index], targets[:, index])[0, 1] for index in range(OUTPUTS)]
    names = [PARAMETER_NAMES[parameter] for parameter in MOUTH_OUTPUTS] + ["lips touch (p b m)"]
    lines = [
        f"# {file}",
        "",
        "What the analyser of the `MouthAnalyser` hears, to the mouth: a linear map, written by `scripts/assets/fit_mouth_model.py`.",
        f"Fitted on {len(inputs)} frames of 10 ms: {len(SENTENCES)} sentences spoken by espeak-ng",
        f"in {len(VOICES)} voices, {TAKES} times each,",
        "differently disturbed. It holds coefficients of a ridge regression; no recording of a person went into it.",
        "How it does on people's speech: `tests/lab/mouth/score.py`.",
        "",
        "| output | r with the mouth of the synthesiser's own phonemes |",
        "|---|---|",
        *(f"| {name} | {r:.2f} |" for name, r in zip(names, correlations, strict=True)),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
