"""The plot: CPU per request and per chunk, one bar a gateway; readable on light and dark pages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.report import middle

INK = "#7a828b"
"""Mid-grey: enough contrast on white and on near-black."""
COLOURS = {"ferryman": "#2f81f7", "nginx": "#3fb950"}
OTHER = "#a371a3"


def draw(results: Mapping[str, Any], target: Path) -> None:
    """Write an SVG with a transparent ground to ``target``."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    panels = [
        ("whole", "data_us", "Whole answers: CPU µs a request"),
        ("stream", "chunk_us", "Streams: CPU µs a chunk"),
    ]
    panels = [panel for panel in panels if results.get(panel[0])]
    if not panels:
        return
    # fixed salt and no date: the same results give the same file
    style: dict[Any, Any] = {"svg.hashsalt": "bench", "font.size": 10, "svg.fonttype": "none"}
    style |= dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
    with pyplot.rc_context(style):
        rows = max(len(results[section]) for section, _, _ in panels)
        size = (4.6 * len(panels), 0.9 + 0.42 * rows)
        figure, axes = pyplot.subplots(1, len(panels), figsize=size, squeeze=False)
        for axis, (section, key, title) in zip(axes[0], panels, strict=True):
            _panel(axis, results[section], key, title)
        figure.tight_layout()
        figure.savefig(target, transparent=True, metadata={"Date": None})
        pyplot.close(figure)


def _panel(axis: Any, section: Mapping[str, Any], key: str, title: str) -> None:
    """One panel: horizontal bars on a logarithmic scale, the smallest on top."""
    names = [name for name in section if name != "direct"]
    names.sort(key=lambda name: middle(section[name], key), reverse=True)
    values = [middle(section[name], key) for name in names]
    colours = [COLOURS.get(name, OTHER) for name in names]
    axis.barh(names, values, color=colours, height=0.62)
    axis.set_xscale("log")
    axis.set_xlim(min(values) / 2, max(values) * 4)
    axis.set_title(title, fontsize=11, loc="left")
    axis.set_facecolor("none")
    axis.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(INK)
    for index, value in enumerate(values):
        text = f" {value:,.0f}" if value >= 100 else f" {value:.1f}"
        axis.text(value, index, text, va="center", color=INK)
