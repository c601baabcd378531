"""Encode: fits the encoder on the training rows alone, and applies it to every split."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.columns import own_encoders
from schemas.contract import Contract
from schemas.document import digest
from schemas.stages import EncodeRequest, EncodeResult, IngestResult, Input
from tasks import compatibility, features, plugins, stage
from tasks.bundle_contents import BundleContents
from tasks.encoders import table as encoders
from tasks.encoders.table import TableEncoder
from tasks.encoders.target import predicted
from tasks.parallel import ahead, in_order
from tasks.splits import SPLITS
from tasks.tables import ROW_GROUP_ROWS, TableWriter, read_batches
from tasks.typed_rows import typed_schema
from tasks.workspaces import place

log = logging.getLogger("evermodel.encode")

VERSION = 2
_NOTABLE_UNKNOWN = 0.05
_VALUES_AT_ONCE = 1 << 24


def run_key(request: EncodeRequest) -> str:
    """Return the run key: it changes with the request, any byte that ingest published, and the source of own code."""
    code = plugins.source_digests(_own_encoders(request.ingest))
    return stage.run_key("encode", request, version=VERSION, **({"code": digest(code)} if code else {}))


def _own_encoders(ingest: Input) -> tuple[str, ...]:
    """Return the encoders of the user's own that ingested rows want; none where nothing is ingested, as `run` says."""
    source = place(ingest.path)
    result = stage.published(IngestResult, source)
    if result is None:
        return ()
    stage.verify(source.directory, {"contract.json": result.files["contract.json"]})
    return own_encoders(Contract.load(source.directory / "contract.json").columns)


def run(request: EncodeRequest) -> EncodeResult:
    """Fit in one pass over the training rows, transform all splits, publish both.

    Raises DataError for a number that does not fit float32 and for a class that training does not have, and SpecError
    for an encoder of the user's own that is not allowed, fails or returns something else than it should.
    """
    return stage.publish(EncodeResult, request, stage="encode", key=run_key(request), make=_make)


def _make(request: EncodeRequest, out: Path) -> Mapping[str, Any]:
    source, _ = stage.opened(IngestResult, request.ingest, files=("contract.json", "rows/*"))
    contract = Contract.load(source / "contract.json")
    champion, objection = _champion(request, contract, source)
    encoder = champion or encoders.fit(contract, lambda: ahead(_rows(contract, source, "train")))
    (out / "encoder.json").write_text(encoder.to_json())
    seen = {str(split): _write_features(encoder, contract, source, out, split) for split in SPLITS}
    (out / "unknown.json").write_text(json.dumps(seen, indent=2) + "\n")
    return {
        "features": encoder.width,
        "outputs": predicted(encoder.target),
        "warnings": [*objection, *_warnings(encoder, seen, old=bool(champion))],
    }


def _champion(request: EncodeRequest, contract: Contract, source: Path) -> tuple[TableEncoder | None, list[str]]:
    """Return the champion's encoder if it is asked for and fits, else why it does not."""
    if request.champion is None:
        return None, []
    champion = BundleContents(request.champion)
    columns = list(contract.target.names)
    targets = read_batches(source / "rows" / "train.parquet", columns=columns)
    if why_not := compatibility.other_encoding(champion, contract, targets):
        log.warning("encode: %s", said := compatibility.fresh(why_not))
        return None, [said]
    return champion.encoder, []


def _rows(contract: Contract, source: Path, split: str, *, at_once: int = ROW_GROUP_ROWS) -> Iterator[pa.Table]:
    """Yield typed rows of a split; texts that are features come as dictionaries."""
    types = typed_schema(contract, with_target=True)
    texts = [name for name in contract.columns if pa.types.is_string(types.field(name).type)]
    return read_batches(source / "rows" / f"{split}.parquet", rows=at_once, categories=texts)


def _write_features(encoder: TableEncoder, contract: Contract, source: Path, out: Path, split: str) -> dict[str, float]:
    """Write one split; return the share of values in each column that are categories which training did not keep."""
    layout = features.schema(
        encoder, weighted=contract.weight is not None, encoder_digest=digest(encoder.model_dump(mode="json"))
    )

    def encoded(rows: pa.Table) -> tuple[pa.Table, Counter[str]]:
        inputs, target = encoder.transform(rows, training=split == "train"), encoder.target.encode(rows)
        return features.to_table(inputs, target, encoders.weights(rows), layout=layout), encoder.unknown(rows)

    unknown: Counter[str] = Counter()
    at_once = max(1, min(ROW_GROUP_ROWS, _VALUES_AT_ONCE // encoder.width))
    with TableWriter(out / "features" / f"{split}.parquet", layout, compression="none") as writer:
        for table, strange in in_order(encoded, _rows(contract, source, split, at_once=at_once)):
            writer.write(table)
            unknown += strange
            event = {"stage": "encode", "split": split, "rows": writer.rows}
            log.info("encode: %s %s rows", split, f"{writer.rows:,}", extra={"event": event})
    return {name: count / writer.rows for name, count in unknown.items()}


def _warnings(encoder: TableEncoder, unknown: Mapping[str, Mapping[str, float]], *, old: bool) -> list[str]:
    """Say what a person should know; an old encoder was fitted on other training rows than these."""
    when = "of the champion " if old else ""
    said = [f"column {name!r} has no value in the training split {when}and was left out" for name in encoder.dropped]
    for split in ("train", "validation", "test") if old else ("validation", "test"):
        for name, share in unknown[split].items():
            if share > _NOTABLE_UNKNOWN:
                rows, of = f"{share:.1%} of the {split} rows", " of the champion" if old else ""
                said.append(f"column {name!r}: {rows} have a category that is unknown or too rare in training{of}")
    return said


if __name__ == "__main__":
    stage.main(EncodeRequest, run)
