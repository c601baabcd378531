"""What a section of the report is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from markupsafe import Markup
from matplotlib.figure import Figure

from tasks.reports import drawing
from tasks.tables import CsvWriter

Data = Mapping[str, Any]
"""What a figure shows, as columns of equal length: arrays, or lists of texts or numbers. The code names them."""


@dataclass(frozen=True)
class Plot:
    """A figure with its words."""

    name: str
    """Stem of its file in figures/: given by the code, never made from the data."""
    title: str
    figure: Figure
    data: Data
    caption: str = ""

    @property
    def wide(self) -> bool:
        """Whether it takes the whole width of the page."""
        return drawing.size(self.figure)[0] > drawing.HALF

    def svg(self) -> Markup:
        """Return it for the page."""
        return drawing.svg(self.figure, name=self.name, label=f"{self.title}. {self.caption}".strip())

    def write(self, folder: Path) -> None:
        """Write it as a picture, and what it shows as CSV."""
        drawing.png(self.figure, folder / f"{self.name}.png", title=self.title)
        rows = pa.table({name: pa.array(values) for name, values in self.data.items()})
        with CsvWriter(folder / f"{self.name}.csv", rows.schema) as file:
            file.write(rows)


@dataclass(frozen=True)
class Table:
    """Rows of text, None for an empty cell. The first `text_columns` hold names, the others figures."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    caption: str = ""
    text_columns: int = 1
    marked: int | None = None
    """A row that stands out."""
    long: int | None = None
    """A text column that holds whole sentences."""
    digests: bool = False
    """Whether the cells behind the first hold digests and the like."""


@dataclass(frozen=True)
class Section:
    """Plots and tables under one heading."""

    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences above them."""
