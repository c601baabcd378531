"""R27: rare and unknown categories are counted in the report."""

from pathlib import Path

import pandas as pd

from schemas.stages import EncodeRequest
from tasks import encode, ingest
from tasks.encoders.table import TableEncoder
from tasks.findings import categories
from tasks.reports.categories import table

CITIES = {
    "train": ["Bern"] * 30 + ["Rome"] * 18 + ["Ulm"] * 2,
    "validation": ["Bern"] * 20,
    "test": ["Bern", "Ulm", "Oslo"] * 8,
}


def test_rows_with_a_rare_or_unknown_category_are_counted_by_split(ingest_request):
    """Ulm is rare, Oslo unknown."""
    rows = [(split, city) for split, cities in CITIES.items() for city in cities]
    frame = pd.DataFrame(rows, columns=["split", "city"]).assign(y=["no", "yes"] * 47, size=["s", "l"] * 47)
    columns = {"size": {"kind": "ordinal"}, "city": {"kind": "one_hot", "min_count": 5}}
    ingested = ingest.run(ingest_request(frame, columns=columns, split={"by": "column", "column": "split"}))
    encoded = encode.run(EncodeRequest(workspace=str(Path(ingested.path).parents[1]), ingest=ingested.as_input))
    found = categories.find(TableEncoder.load(Path(encoded.path, "encoder.json")), Path(ingested.path))
    assert [(each.name, each.kept) for each in found] == [("city", 2), ("size", 2)]
    assert found[0].outside == {"train": 2 / 50, "validation": 0, "test": 16 / 24}
    assert [cell.replace("\u00a0", " ") for cell in table(found).rows[0]] == ["city", "2", "4.0 %", "0 %", "66.7 %"]
