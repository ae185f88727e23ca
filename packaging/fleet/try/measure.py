"""Loads N made-up lines into a store in FOLDER, and tells sizes and times: `measure.py FOLDER N`; with 0 it only asks."""

import sys
import time
from itertools import islice
from statistics import median

from generate import generate
from store import insert, opened, questions, rows, timed

BATCH = 50_000


def load(store, count):
    lines, spent, cpu, octets = generate(count), 0, 0, 0
    while batch := list(islice(lines, BATCH)):
        octets += sum(map(len, batch)) + len(batch)
        began, used = time.monotonic(), time.process_time()
        insert(store, "connections", batch)
        spent, cpu = spent + time.monotonic() - began, cpu + time.process_time() - used
    print(
        f"{count} lines of {octets / count:.0f} octets, inserted {BATCH} at a time: {count / spent:.0f} a second,",
        end=" ",
    )
    print(f"{cpu / count * 1e6:.1f} s of CPU for a million")


def sizes(store, table):
    [[count, octets]] = rows(
        store,
        f"SELECT sum(rows)::Float64, sum(bytes_on_disk)::Float64 FROM system.parts WHERE active AND table = '{table}'",
    )
    print(f"{table}: {count:.0f} rows, {octets / 1e6:.1f} MB on disk, {octets / count:.1f} octets a row")


def main():
    store, count = opened(sys.argv[1]), int(sys.argv[2])
    if count:
        load(store, count)
        for table in ("connections", "hourly"):
            sizes(store, table)
            store.query(f"OPTIMIZE TABLE tcptrace.{table} FINAL")
        print("after OPTIMIZE FINAL:")
    for table in ("connections", "hourly"):
        sizes(store, table)
    print(
        timed(
            store,
            """SELECT column, round(sum(column_data_compressed_bytes) / sum(rows), 2) AS octets_a_row
        FROM system.parts_columns WHERE active AND table = 'connections' GROUP BY column ORDER BY octets_a_row DESC LIMIT 20""",
        )[0]
    )
    for name, words, sql in questions():
        answer, first = timed(store, sql)
        used = time.process_time()
        again = median(timed(store, sql)[1] for _ in range(3))
        used = (time.process_time() - used) / 3
        print(
            f"{name}: {words}\n{answer}{first:.2f} s at first, {again:.2f} s again, with {used:.2f} s of CPU\n"
        )


main()
