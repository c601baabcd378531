"""What a section of the report is made of."""

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from tasks.reports import drawing


@dataclass(frozen=True)
class Plot:
    """A figure with its words."""

    name: str
    """Stem of its file in figures/: given by the code, never made from the data."""
    title: str
    figure: Figure
    caption: str = ""

    @property
    def wide(self) -> bool:
        """Whether it takes the whole width of the page."""
        return drawing.size(self.figure)[0] > drawing.HALF

    def svg(self) -> Markup:
        """Return it for the page."""
        return drawing.svg(self.figure, name=self.name, label=f"{self.title}. {self.caption}".strip())

    def png(self, folder: Path) -> None:
        """Write it as a file."""
        drawing.png(self.figure, folder / f"{self.name}.png", title=self.title)


@dataclass(frozen=True)
class Table:
    """Rows of text. The first `text_columns` hold names, the others figures."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    text_columns: int = 1
    marked: int | None = None
    """A row that stands out."""


@dataclass(frozen=True)
class Section:
    """Plots and tables under one heading."""

    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences above them."""
