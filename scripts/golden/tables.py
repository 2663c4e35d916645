# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The corda authors
"""Writes tests/golden/tables: tables as pyarrow and pandas write them, and their rows as JSON.

    python -m pip install pyarrow==22.0.0 pandas==3.1.1
    python scripts/golden/tables.py

`NAME.json` holds the rows of `NAME`: NaN as null, dates as text, nothing of what is bytes.
"""

import datetime
import decimal
import hashlib
import json
import math
from pathlib import Path

import pandas
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "tables"

TURN = pa.struct([("role", pa.string()), ("content", pa.string()), ("train", pa.bool_()), ("image", pa.binary())])
CHAT = pa.schema([
    ("messages", pa.list_(TURN)), ("source", pa.dictionary(pa.int8(), pa.string())), ("picture", pa.struct([("bytes", pa.binary())])),
    ("score", pa.float32()), ("id", pa.uint64()), ("tags", pa.large_list(pa.large_string())), ("extra", pa.map_(pa.string(), pa.int32())),
    ("day", pa.date32()), ("price", pa.decimal128(6, 2)), ("pair", pa.list_(pa.int16(), 2)),
])


def chat_rows():
    rows = []
    for i in range(7):
        turns = [{"role": "user", "content": f"Wörld {i}\n\"q\"", "train": None, "image": b"\x00"},
                 {"role": "assistant", "content": f"{i} 😀", "train": i % 2 == 0, "image": None}]
        rows.append({"messages": None if i == 3 else turns[: 0 if i == 4 else 2], "source": ["web", "book", None][i % 3], "picture": {"bytes": b"\xff\xd8"},
                     "score": math.nan if i == 2 else i / 4, "id": 2**64 - 1 - i, "tags": ["a", None] if i else [], "extra": {"n": i} if i % 2 else None,
                     "day": datetime.date(2024, 2, 29), "price": decimal.Decimal("12.50"), "pair": [i, -i]})
    return rows


def is_bytes(kind):
    if pa.types.is_binary(kind):
        return True
    return pa.types.is_nested(kind) and kind.num_fields > 0 and all(is_bytes(kind.field(i).type) for i in range(kind.num_fields))


def plain(value, kind):
    """As the reader gives it."""
    if value is None or isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, (datetime.date, decimal.Decimal)):
        return str(value)
    if pa.types.is_map(kind):
        return dict(value)
    if pa.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return {field.name: plain(value[field.name], field.type) for field in fields if not is_bytes(field.type)}
    if isinstance(value, list):
        return [plain(v, kind.value_type) for v in value]
    return value


def rows_of(table):
    fields = [field for field in table.schema if not is_bytes(field.type)]
    return [{field.name: plain(row[field.name], field.type) for field in fields} for row in table.to_pylist()]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    chat = pa.Table.from_pylist(chat_rows(), schema=CHAT)
    pq.write_table(chat, OUT / "chat.parquet", row_group_size=3, compression="zstd")
    pq.write_table(chat, OUT / "chat_v1.parquet", version="1.0", compression="gzip", use_dictionary=False, data_page_version="2.0")
    pa.feather.write_feather(chat, OUT / "chat.feather", compression="lz4")
    with pa.ipc.new_stream(OUT / "chat.arrow", chat.schema) as stream:
        stream.write_table(chat, max_chunksize=2)
    for name in ("chat.parquet", "chat_v1.parquet", "chat.feather", "chat.arrow"):
        (OUT / f"{name}.json").write_text(json.dumps(rows_of(chat), ensure_ascii=False) + "\n")

    frame = pandas.DataFrame({"question": ["who?", "a,b; \"c\"", "two\nlines", "ünï"], "answer": ["Ann", None, "", "42"],
                              "kind": pandas.Categorical(["x", "y", "x", None]), "n": [1, 2, 3, 4]})
    frame.to_parquet(OUT / "pandas.parquet")
    (OUT / "pandas.parquet.json").write_text(json.dumps(rows_of(pq.read_table(OUT / "pandas.parquet")), ensure_ascii=False) + "\n")
    frame.to_csv(OUT / "pandas.csv", index=False)
    frame.to_csv(OUT / "semicolon.csv", index=False, sep=";", lineterminator="\r\n")
    frame.to_csv(OUT / "pandas.tsv", index=False, sep="\t", quoting=1)
    text = [{k: None if pandas.isna(v) or v == "" else str(v) for k, v in row.items()} for row in frame.to_dict("records")]
    quoted = [{k: "" if v is None else v for k, v in row.items()} for row in text]
    # What is missing pandas quotes, where it quotes all.
    for name, rows in (("pandas.csv", text), ("semicolon.csv", text), ("pandas.tsv", quoted)):
        (OUT / f"{name}.json").write_text(json.dumps(rows, ensure_ascii=False) + "\n")

    # One row group of many rows and many pages.
    many = pa.table({"text": [f"line {i}" for i in range(20000)]})
    pq.write_table(many, OUT / "many.parquet", row_group_size=20000, data_page_size=4096, compression="zstd", use_dictionary=False)

    # Two frames one after the other, as `cat a.zst b.zst` makes them.
    lines = [{"text": "x" * 300000}, {"text": "y"}, {"text": "z"}, {"text": "end"}]
    with open(OUT / "lines.jsonl.zst", "wb") as file:
        for part in (lines[:1], lines[1:]):
            sink = pa.BufferOutputStream()
            with pa.CompressedOutputStream(sink, "zstd") as stream:
                stream.write("".join(json.dumps(line) + "\n" for line in part).encode())
            file.write(sink.getvalue())

    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(OUT.iterdir())}
    manifest = {"command": "python scripts/golden/tables.py", "versions": {"pyarrow": pa.__version__, "pandas": pandas.__version__}, "files": files}
    (OUT / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


main()
