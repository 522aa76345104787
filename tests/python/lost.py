"""Asks DuckDB, DataFusion and chDB for the bytes lost by container and rule since yesterday.

Arguments: a folder of Parquet files, and one of NDJSON files. Prints an object for each engine and format.
"""

import json
import sys

import chdb
import datafusion
import duckdb

PARQUET, NDJSON = sys.argv[1:]

QUERY = """
    SELECT coalesce(container, cgroup) AS place, rule, sum(lost) AS lost
    FROM {rows} WHERE {ended} >= {yesterday} GROUP BY 1, 2 ORDER BY 1, 2
"""


def duck(rows):
    yesterday = "now() - INTERVAL 1 DAY"
    return duckdb.sql(QUERY.format(rows=rows, ended="ended", yesterday=yesterday)).fetchall()


def fusion(register, folder, ended):
    context = datafusion.SessionContext()
    register(context)("rows", folder)
    query = QUERY.format(rows="rows", ended=ended, yesterday="now() - INTERVAL '1 day'")
    rows = context.sql(query).to_pylist()
    return [(row["place"], row["rule"], row["lost"]) for row in rows]


def click(files, form, ended):
    query = QUERY.format(rows=f"file('{files}', {form})", ended=ended, yesterday="now64(6) - INTERVAL 1 DAY")
    lines = str(chdb.query(query, "JSONCompactEachRow")).splitlines()
    return [tuple(json.loads(line)) for line in lines]


ANSWERS = {
    "duckdb parquet": lambda: duck(f"'{PARQUET}/*.parquet'"),
    "duckdb ndjson": lambda: duck(f"'{NDJSON}/*.ndjson'"),
    "datafusion parquet": lambda: fusion(lambda it: it.register_parquet, PARQUET, "ended"),
    "datafusion ndjson": lambda: fusion(
        lambda it: lambda name, folder: it.register_json(name, folder, file_extension=".ndjson"),
        NDJSON,
        "to_timestamp_micros(ended)",
    ),
    "chdb parquet": lambda: click(f"{PARQUET}/*.parquet", "Parquet", "ended"),
    "chdb ndjson": lambda: click(f"{NDJSON}/*.ndjson", "JSONEachRow", "parseDateTime64BestEffort(ended::String, 6)"),
}

for name, ask in ANSWERS.items():
    rows = [[place, rule, None if lost is None else int(lost)] for place, rule, lost in ask()]
    print(json.dumps({"engine": name, "rows": rows}), flush=True)
