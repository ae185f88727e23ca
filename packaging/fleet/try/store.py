"""What the other programs here share: the tables of schema.sql in chdb, which is ClickHouse as a library, and the questions."""

import json
import re
import time
from pathlib import Path

from chdb.session import Session

CLICKHOUSE = Path(__file__).parent.parent / "clickhouse"


def opened(folder):
    """A store in that folder, with its tables."""
    store = Session(str(folder))
    for statement in (CLICKHOUSE / "schema.sql").read_text().split(";\n"):
        if re.sub(r"(?m)^--.*$", "", statement).strip():
            store.query(statement)
    return store


def insert(store, table, lines):
    form = "JSONEachRow" if table == "connections" else "LineAsString"
    store.query(f"INSERT INTO tcptrace.{table} FORMAT {form}\n" + "\n".join(lines))


def questions():
    """The name, the question in words and the SQL of each in questions.sql."""
    text = (CLICKHOUSE / "questions.sql").read_text()
    parts = re.split(r"(?:\A|\n\n)-- ([a-z_]+): (.+)\n", text)[1:]
    return [
        (name, words, sql.strip().rstrip(";"))
        for name, words, sql in zip(parts[::3], parts[1::3], parts[2::3])
    ]


def hourly_again(day):
    """The statements that make the hours of a day anew."""
    text = (CLICKHOUSE / "hourly_again.sql").read_text().replace("{day:Date}", f"'{day}'")
    return [sql for sql in text.split(";\n") if sql.strip()]


def rows(store, sql):
    """The rows of an answer, as lists."""
    text = str(store.query(sql, "JSONCompactEachRow"))
    return [json.loads(line) for line in text.splitlines()]


def timed(store, sql):
    """The answer as a table, and how many seconds it took."""
    began = time.monotonic()
    answer = str(
        store.query(
            f"{sql}\nSETTINGS output_format_pretty_row_numbers = 0, output_format_pretty_color = 0",
            "PrettySpace",
        )
    )
    return answer, time.monotonic() - began
