"""The plot of compare.py's results.

    python -m benchmarks.plot RESULTS.json PLOT.png     # or .svg, .pdf

One row per model: time to the first token, peak memory and speed of decoding over the clip's length.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PANELS = (
    ("first_token_s", "first token, model loaded (s)", 1.0),
    ("max_rss", "peak memory (MiB)", 2.0**-20),
    ("decode_tokens_per_s", "decoding (tokens/s)", 1.0),
)


def series(model: dict[str, Any], field: str) -> dict[str, list[tuple[float, float, float, float]]]:
    """{system: [(clip seconds, median, min, max)]}, shortest clip first."""
    lines: dict[str, list[tuple[float, float, float, float]]] = {}
    for clip in sorted(model["clips"].values(), key=lambda clip: clip["seconds"]):
        for system, fields in clip["systems"].items():
            if value := fields[field]:
                point = (clip["seconds"], value["median"], value["min"], value["max"])
                lines.setdefault(system, []).append(point)
    return lines


def draw(results: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    models = results["models"]
    figure, grid = pyplot.subplots(len(models), len(PANELS), figsize=(12, 3.2 * len(models)), squeeze=False)
    for row, (name, model) in zip(grid, models.items(), strict=True):
        for axis, (field, title, unit) in zip(row, PANELS, strict=True):
            for system, points in series(model, field).items():
                seconds, middle, low, high = ([unit * p[i] if i else p[0] for p in points] for i in range(4))
                bars = [
                    [m - a for m, a in zip(middle, low, strict=True)],
                    [b - m for m, b in zip(middle, high, strict=True)],
                ]
                axis.errorbar(seconds, middle, yerr=bars, marker="o", capsize=3, label=system)
            lengths = sorted(clip["seconds"] for clip in model["clips"].values())
            axis.set_xscale("log")
            axis.set_xticks(lengths, [f"{length:g}" for length in lengths])
            axis.minorticks_off()
            axis.set_ylim(0, 1.08 * axis.get_ylim()[1])
            axis.set_title(f"{name}: {title}", fontsize=9)
            axis.set_xlabel("clip (s)")
            axis.grid(alpha=0.3)
        row[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> int:
    try:
        draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
    except ImportError:
        print('error: matplotlib is missing: pip install "mata-cpp[plot]"', file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
