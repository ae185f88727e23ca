"""Checks the tables and questions over real and made-up lines: `check.py`. `cargo xtask fleet` runs it."""

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from generate import generate
from store import hourly_again, insert, opened, questions, rows

HERE = Path(__file__).parent
LINES = 100_000
passed = failed = 0


def check(what, good, seen=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    if not good:
        print(f"FAILED: {what} {seen}", flush=True)


def alike(cell, value):
    """Whether a column has what the line has; a column of a tuple has some of an object's fields."""
    if isinstance(cell, dict):
        return all(alike(inner, (value or {}).get(name)) for name, inner in cell.items())
    if isinstance(value, str) and isinstance(cell, str):
        return value in (cell, cell.removeprefix("::ffff:"), cell.replace(" ", "T") + "Z")
    return cell == value and isinstance(cell, bool) == isinstance(value, bool)


def columns_are_fields(store, real):
    """Every column of every real line has the value of the field by whose name it goes."""
    insert(store, "connections", real)
    options = (
        "SETTINGS output_format_json_quote_64bit_integers = 0, output_format_json_named_tuples_as_objects = 1"
    )
    text = str(store.query(f"SELECT *, community_id FROM tcptrace.connections {options}", "JSONEachRow"))
    lines = {(line["from_host"], line["id"]): line for line in map(json.loads, real)}
    for row in map(json.loads, text.splitlines()):
        line = lines.pop((row["from_host"], row["id"]))
        wrong = {
            name: (cell, line.get(name))
            for name, cell in row.items()
            if name not in line or not alike(cell, line[name])
        }
        check("a column has another value than its field", not wrong, wrong)
    check("real lines are missing", not lines, list(lines))
    store.query("TRUNCATE TABLE tcptrace.connections")
    store.query("TRUNCATE TABLE tcptrace.hourly")


def nothing_twice(store, made):
    """A block that comes again is passed over; lines that come again in another block are left out by FINAL. Up to ten lines
    that were cut are left out, as the shipper asks for it, and more are an error."""
    count = lambda table, how="": rows(store, f"SELECT count()::Float64 FROM tcptrace.{table} {how}")[0][0]
    hourly = lambda: rows(
        store,
        "SELECT sum(connections)::Float64, quantilesDDMerge(0.01, 0.5, 0.9, 0.99)(syn_to_established) FROM tcptrace.hourly",
    )
    insert(store, "connections", made)
    exact = hourly()
    insert(store, "connections", made)
    check("the same block twice", count("connections") == LINES and hourly() == exact)
    insert(store, "connections", made[: LINES // 2])
    check("FINAL", count("connections", "FINAL") == LINES and hourly() != exact)
    for cut in (10, 11):
        other = made[0].replace('"from_host":"', '"from_host":"other')
        lines = [other] + [made[0][:300] + line for line in made[:cut]]
        try:
            store.query(
                "INSERT INTO tcptrace.connections SETTINGS input_format_allow_errors_num = 10 FORMAT JSONEachRow\n"
                + "\n".join(lines)
            )
            good = cut == 10
        except RuntimeError:
            good = cut == 11
        check(f"{cut} lines that were cut", good and count("connections", "FINAL") == LINES + 1)
    store.query("DELETE FROM tcptrace.connections WHERE startsWith(from_host, 'other')")
    days = [day for [day] in rows(store, "SELECT DISTINCT toDate(ts) FROM tcptrace.connections")]
    for statement in [sql for day in days for sql in hourly_again(day)] * 2:
        store.query(statement)
    check("hourly_again.sql", hourly() == exact, (hourly(), exact))


def other_events(store):
    run = "4142e14e-9868-44bf-90b7-3e2ae6bd8c5d"
    lines = [
        json.dumps({"from_host": "web1", "event": event, "ts": "2026-11-28T01:36:44.123456789Z", "run": run})
        for event in ("start", "stats")
    ]
    insert(store, "events", [lines[0][:60] + lines[1], *lines])
    found = rows(
        store,
        "SELECT from_host, event, ts, JSONExtractString(line, 'run') FROM tcptrace.events WHERE event != '' ORDER BY event",
    )
    check(
        "other events",
        found == [["web1", event, "2026-11-28 01:36:44.123456789", run] for event in ("start", "stats")],
        found,
    )


def answers(store):
    """Each question has an answer, and some find what generate.py let go wrong."""
    got = {}
    for name, words, sql in questions():
        try:
            got[name] = rows(store, sql)
        except RuntimeError as error:
            check(f"the question {name}", False, error)
            got[name] = []
        check(f"the question {name} has no answer", got[name])
    check(
        "loss",
        got["one_way_loss"][0][:2] == ["web7", "db3"] and got["one_way_loss"][0][7] == 0,
        got["one_way_loss"],
    )
    check(
        "the new pair",
        any(row[0] == "198.51.100.17" and row[1].startswith("203.0.113.5:") for row in got["new_pairs"]),
        got["new_pairs"],
    )
    check(
        "both hosts",
        all(row[0].startswith("web") and row[1].startswith("db") for row in got["both_hosts"]),
        got["both_hosts"],
    )
    by_rows = {(row[0], row[1].replace(":", " ")): row[2:4] for row in got["slowest"]}
    by_hours = {(row[0], row[1]): row[2:4] for row in got["slowest_by_hours"]}
    both = by_rows.keys() & by_hours.keys()
    check(
        "hours count as rows do",
        both and all(by_rows[key] == by_hours[key] for key in both),
        (by_rows, by_hours),
    )


def one_liners(folder):
    """Each command of docs/fleet.md that calls duckdb runs where the lines of one host are."""
    page = (HERE / "../../../docs/fleet.md").read_text()
    commands = [
        line.strip() for line in page.replace("\\\n", " ").splitlines() if line.startswith("    duckdb ")
    ]
    check("docs/fleet.md has one-liners for duckdb", len(commands) > 2)
    for host in ("web1", "db1"):
        lines = [
            line
            for line in (HERE / "lines.jsonl").read_text().splitlines()
            if f'"from_host":"{host}"' in line
        ]
        for name in (f"{host}.jsonl", "events.jsonl"):
            (folder / name).write_text("\n".join(lines) + "\n")
    for command in commands:
        done = subprocess.run(
            shlex.split(command),
            cwd=folder,
            capture_output=True,
            text=True,
            env={"PATH": str(Path(sys.executable).parent)},
        )
        check(
            command, done.returncode == 0 and ("COPY" in command or done.stdout.count("│") > 9), done.stderr
        )


def main():
    folder = Path(tempfile.mkdtemp(prefix="tcptrace-fleet-"))
    try:
        store = opened(folder / "store")
        columns_are_fields(store, (HERE / "lines.jsonl").read_text().splitlines())
        made = list(generate(LINES))
        nothing_twice(store, made)
        other_events(store)
        answers(store)
        one_liners(folder)
        store.close()
    finally:
        shutil.rmtree(folder)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
