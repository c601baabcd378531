"""The learning curves."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tasks.reports import drawing
from tasks.reports.elements import Plot, Section

_LOG_ABOVE = 50


def section(history: Mapping[str, Any]) -> Section:
    """Return the loss of training and validation by epoch; `history` is what train publishes as history.json."""
    loss, validation, best = history["loss"], history["validation_loss"], history["best_epoch"]
    epochs = np.arange(1, len(loss) + 1)
    figure = drawing.canvas(drawing.FULL, 320)
    axes = figure.subplots()
    marker = "o" if len(loss) == 1 else ""
    axes.plot(epochs, loss, color=drawing.BLUE, marker=marker, label="training")
    axes.plot(epochs, validation, color=drawing.ORANGE, linestyle=(0, (5, 1.5)), marker=marker, label="validation")
    axes.axvline(best, color=drawing.INK, linewidth=0.8, linestyle=":")
    axes.plot([best], [validation[best - 1]], "o", color=drawing.ORANGE, markersize=6, label=f"best epoch, {best}")
    values = np.array([*loss, *validation])
    if values.min() > 0 and values.max() / values.min() > _LOG_ABOVE:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    drawing.count_ticks(axes.xaxis)
    margin = max(0.5, len(loss) / 100)
    axes.set(xlabel="epoch", ylabel="loss", xlim=(1 - margin, len(loss) + margin))
    axes.legend()
    caption = (
        f"The weights kept are those of epoch {best}, which has the lowest validation loss. "
        "The training loss holds penalties and dropout, the validation loss does not."
    )
    return Section(plots=(Plot("learning_curves", "Learning curves", figure, caption),))
