"""Puts the lines of two_hosts.sh into a store of their own, and asks it the questions: `real.py FOLDER [QUESTION...]`."""

import sys
import tempfile
from pathlib import Path

from store import insert, opened, questions, timed

with tempfile.TemporaryDirectory() as folder:
    store = opened(folder)
    for host in ("web1", "db1"):
        lines = (Path(sys.argv[1]) / f"{host}.jsonl").read_text().splitlines()
        added = [f'{{"from_host":"{host}",{line[1:]}' for line in lines]
        insert(store, "connections", [line for line in added if '"event":"connection",' in line])
        insert(store, "events", [line for line in added if '"event":"connection",' not in line])
    for name, words, sql in questions():
        if name in sys.argv[2:] or len(sys.argv) == 2:
            print(f"{name}: {words}\n{timed(store, sql)[0]}")
    store.close()
