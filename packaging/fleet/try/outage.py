"""Sends lines by syslog-ng to ClickHouse while both are killed, and counts what comes: `outage.py FOLDER [LINES]`.

The store is away for a while, each program ends by SIGKILL, inserts are done and not answered, others are refused, and one
line is cut in its middle. At the end each whole line has to be there, and once.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

from generate import generate
from store import hourly_again

HERE = Path(__file__).parent
PORT = 18123
folder = Path(sys.argv[1]).absolute()
count = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
RATE = 700
began = time.monotonic()
running = []
go_on = threading.Event()


def say(text):
    print(f"{time.monotonic() - began:5.1f} s  {text}", flush=True)


def front(forget, refuse=0):
    return started(
        [sys.executable, HERE / "front.py", folder / "store", str(PORT), str(forget), str(refuse)],
        "front.log",
    )


def started(args, name):
    with open(folder / name, "a") as log:
        running.append(subprocess.Popen(args, stdout=log, stderr=log))
    return running[-1]


def syslog_ng():
    paths = {"-f": "syslog-ng.conf", "-R": "persist", "-c": "control", "-p": "pid"}
    args = [str(folder / value) if value else key for key, value in paths.items() for value in (None, value)]
    return started(["syslog-ng", "-F", "--no-caps", *args], "syslog-ng.log")


def configure():
    text = (HERE.parent / "syslog-ng" / "tcptrace.conf").read_text()
    changes = {
        "/var/log/tcptrace": f"{folder}/lines",
        "/var/lib/syslog-ng/tcptrace": f"{folder}/buffer",
        "clickhouse.example:8123": f"127.0.0.1:{PORT}",
        # Tries follow sooner, so that more of them than any limit on tries fit into the test.
        "time-reopen(5)": "time-reopen(1)",
    }
    for old, new in changes.items():
        assert old in text, f"tcptrace.conf has no {old}"
        text = text.replace(old, new)
    (folder / "syslog-ng.conf").write_text(text)


def kill(process, name):
    """Ends a process at once, and returns how many seconds of CPU it took."""
    process.kill()
    _, _, usage = os.wait4(process.pid, 0)
    say(f"{name}: SIGKILL")
    return usage.ru_utime + usage.ru_stime


def write():
    """Writes the lines as a tracer does, with lines of statistics between; it ends once in the middle of a line, and goes on in
    another file once."""
    stats = '{"event":"stats","schema":2,"ts":"2026-11-28T01:00:%02d.%09dZ","run":"4142e14e-9868-44bf-90b7-3e2ae6bd8c5d","packets":%d}\n'
    file = open(folder / "lines/events-1.jsonl", "a", buffering=1)
    start, gone_on = time.monotonic(), False
    for number, line in enumerate(generate(count)):
        # What the shipper puts in is not in the file.
        line = "{" + line.split(",", 1)[1]
        if number == count // 2:
            file.write(line[: len(line) // 2])
        file.write(line + "\n")
        if number % 1000 == 999:
            file.write(stats % (number // 1000 % 60, number, number))
        if number % 50 == 0:
            time.sleep(max(0, start + number / RATE - time.monotonic()))
            if go_on.is_set() and not gone_on:
                gone_on, file = True, open(folder / "lines/events-2.jsonl", "a", buffering=1)
                say("the writer goes on in another file")
    say(f"{count} lines are written")


def ask(sql):
    url = f"http://127.0.0.1:{PORT}/?query=" + urllib.parse.quote(sql)
    try:
        return (
            urllib.request.urlopen(urllib.request.Request(url, data=b"", method="POST"), timeout=60)
            .read()
            .decode()
            .split()
        )
    except OSError as error:
        return [str(error)]


def main():
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "buffer").mkdir(parents=True)
    (folder / "lines").mkdir()
    configure()
    server = front(forget=2)
    while ask("SELECT 1") != ["1"]:
        time.sleep(0.5)
    shipper = syslog_ng()
    writer = threading.Thread(target=write)
    writer.start()
    say("the store, syslog-ng and the writer run; the first two inserts are not answered")
    time.sleep(12)
    kill(server, "store")
    time.sleep(4)
    spent = kill(shipper, "syslog-ng")
    go_on.set()
    time.sleep(2)
    shipper = syslog_ng()
    say("syslog-ng runs again, without a store")
    time.sleep(6)
    server = front(forget=3, refuse=10)
    say("the store runs again, and does not answer its first three inserts, and then refuses ten")
    time.sleep(8)
    spent += kill(shipper, "syslog-ng")
    shipper = syslog_ng()
    writer.join()
    deadline, there = time.monotonic() + 300, "0"
    while time.monotonic() < deadline and there != str(count - 1):
        time.sleep(5)
        there = " ".join(ask("SELECT count() FROM tcptrace.connections FINAL"))
        say(f"{there} connections are there")
    # What comes once more would come within this time.
    time.sleep(10)
    # The line that was cut takes the beginning of the next one with it.
    [rows, kept, keys] = map(
        int,
        ask(
            "SELECT count(), (SELECT count() FROM tcptrace.connections FINAL), uniqExact(from_host, ts, id) FROM tcptrace.connections"
        ),
    )
    [statistics] = map(int, ask("SELECT count() FROM tcptrace.events FINAL WHERE event = 'stats'"))
    hours = ask("SELECT sum(connections) FROM tcptrace.hourly")
    for day in ask("SELECT DISTINCT toDate(ts) FROM tcptrace.connections"):
        for statement in hourly_again(day):
            ask(statement)
    again = ask("SELECT sum(connections) FROM tcptrace.hourly")
    buffer = sum(file.stat().st_size for file in (folder / "buffer").iterdir())
    spent += kill(shipper, "syslog-ng")
    say(f"syslog-ng took {spent:.2f} s of CPU for {count} lines")
    say(
        f"{kept} of {count - 1} connections, {rows - kept} of them were there twice before FINAL; {statistics} of {count // 1000} lines of statistics"
    )
    say(
        f"the hourly view counted {hours[0]}, and {again[0]} after hourly_again.sql; the buffers' files had {buffer / 1e6:.1f} MB"
    )
    good = [str(kept)] == [str(keys)] == again == [str(count - 1)] and statistics == count // 1000
    print(
        "nothing was lost, and nothing is there twice"
        if good
        else "WRONG: lines were lost, or are there twice"
    )
    return 0 if good else 1


try:
    sys.exit(main())
finally:
    for process in running:
        process.kill()
