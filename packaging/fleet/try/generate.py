"""Makes many `connection` lines of a hundred hosts out of the real ones in lines.jsonl: `generate.py N [SEED]` prints N.

A real connection is taken with the line of each host that told of it. Addresses, ports, ISNs, host names and the time of day
become others, all times of a connection are stretched by one factor, and what belongs together stays together. The lines
span the last 24 hours. A few things go wrong, so that questions have something to find: they are the constants below.
"""

import base64
import datetime
import hashlib
import itertools
import json
import random
import re
import socket
import struct
import sys
import time
from functools import lru_cache
from pathlib import Path

CLIENTS = [(f"web{n}", f"198.51.100.{n}", f"2001:db8:1::{n:x}") for n in range(1, 61)]
SERVERS = [(f"db{n}", f"203.0.113.{n}", f"2001:db8:2::{n:x}") for n in range(1, 41)]
# Of the connections from web7 to db3 one in five loses a segment on its way to the server; of all others one in 2,000.
LOSSY = ("web7", "db3")
# Some clients always fail one in 20 times at one server. Another begins to connect more often, and to fail half of the time,
# 40 minutes before the end.
FAILING = {(f"web{n}", f"db{n % 7 + 20}") for n in range(10, 30)}
NEW, NEW_SINCE_S = ("web17", "db5"), 40 * 60
# For an hour, ten hours before the end, one server takes twenty times as long in one of thirty connections.
SLOW, SLOW_BETWEEN_S = "db9", (10 * 3600, 9 * 3600)
SPAN_NS = 24 * 3600 * 10**9

CHANGES = re.compile(
    r'"(?:[a-z_]+_ns|[A-Z][A-Z_0-9]+)":(?P<time>\d+)|"community_id":"(?P<community_id>[^"]+)"|"(?P<ts>ts|start)":"[^"]+"'
    r'|"id":(?P<id>\d+)|"(?P<end>client|server)":\{[^}]+\}|"(?P<isn>client|server)_isn":\d+|"from_host":"(?P<host>[^"]+)"'
)


class Line:
    """A real line, cut where something changes."""

    def __init__(self, text):
        self.event = json.loads(text)
        self.six = self.event["ip_version"] == 6
        self.on_client = self.event["vantage"] == "client"
        self.lasts = nanoseconds(self.event["ts"]) - nanoseconds(self.event["start"])
        self.pieces, self.times, self.places, at = [], [], {}, 0
        for match in CHANGES.finditer(text):
            kind, value = match.lastgroup, match[match.lastgroup]
            inner = match.span(kind) if kind in ("time", "community_id", "id", "host") else match.span()
            self.pieces += [text[at : inner[0]], ""]
            if kind == "time":
                self.times.append((len(self.pieces) - 1, int(value)))
            else:
                self.places[kind if kind in ("community_id", "id", "host") else f"{kind} {value}"] = (
                    len(self.pieces) - 1
                )
            at = inner[1]
        self.pieces.append(text[at:].rstrip("\n"))

    def told(self, id, start, stretch, client, server, ports, isns):
        pieces, place = self.pieces[:], self.places
        for at, value in self.times:
            pieces[at] = str(int(value * stretch))
        client_ip, server_ip = client[1 + self.six], server[1 + self.six]
        pieces[place["host"]] = (client if self.on_client else server)[0]
        pieces[place["id"]] = str(id)
        pieces[place["ts ts"]] = f'"ts":"{stamp(start + int(self.lasts * stretch))}"'
        pieces[place["ts start"]] = f'"start":"{stamp(start)}"'
        pieces[place["end client"]] = f'"client":{{"ip":"{client_ip}","port":{ports[0]}}}'
        pieces[place["end server"]] = f'"server":{{"ip":"{server_ip}","port":{ports[1]}}}'
        pieces[place["community_id"]] = community_id(client_ip, server_ip, ports)
        for end, isn in zip(("client", "server"), isns):
            if f"isn {end}" in place:
                pieces[place[f"isn {end}"]] = f'"{end}_isn":{isn}'
        return "".join(pieces)


def nanoseconds(text):
    seconds, fraction = text.rstrip("Z").split(".")
    return int(datetime.datetime.fromisoformat(seconds + "+00:00").timestamp()) * 10**9 + int(fraction)


@lru_cache(maxsize=4096)
def second_stamp(second):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def stamp(ns):
    second, rest = divmod(ns, 10**9)
    return f"{second_stamp(second)}.{rest:09d}Z"


@lru_cache(maxsize=None)
def packed(ip):
    return socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)


def community_id(client_ip, server_ip, ports):
    one, other = sorted([(packed(client_ip), ports[0]), (packed(server_ip), ports[1])])
    text = b"\0\0" + one[0] + other[0] + b"\6\0" + struct.pack(">HH", one[1], other[1])
    return "1:" + base64.b64encode(hashlib.sha1(text).digest()).decode()


def stories():
    """The real connections by how they went: each is the lines of one or two hosts."""
    with open(Path(__file__).with_name("lines.jsonl")) as file:
        lines = sorted(map(Line, file), key=lambda line: line.event["client_isn"])
    by = {"good": [], "lossy": [], "reset": [], "failed": []}
    for _, group in itertools.groupby(lines, key=lambda line: line.event["client_isn"]):
        story = sorted(group, key=lambda line: not line.on_client)
        event = story[0].event
        sockets = (line.event[f"{end}_socket"] or {} for line in story for end in ("client", "server"))
        lossy = event["syn_retransmits"] > 0 or any(socket.get("retransmits") for socket in sockets)
        kind = (
            "failed"
            if event["failed"]
            else "reset"
            if event["outcome"] == "reset"
            else "lossy"
            if lossy
            else "good"
        )
        by[kind].append(story)
    return by


def generate(count, seed=1, end_ns=None):
    """Yields so many lines, in the order in which connections began."""
    chance, by = random.Random(seed), stories()
    begin = (end_ns or time.time_ns()) - SPAN_NS
    ids = dict.fromkeys((host for host, *_ in CLIENTS + SERVERS), 0)
    weights = [1 / (n + 1) for n in range(len(SERVERS))]
    servers, made = chance.choices(SERVERS, weights, k=1 << 16), 0
    while made < count:
        client, server = chance.choice(CLIENTS), chance.choice(servers)
        start = begin + SPAN_NS * made // count + chance.randrange(1000)
        left_s = (begin + SPAN_NS - start) / 1e9
        lot = chance.random()
        if left_s < NEW_SINCE_S and lot < 0.01:
            client, server = (next(host for host in hosts if host[0] in NEW) for hosts in (CLIENTS, SERVERS))
        pair = (client[0], server[0])
        if pair in FAILING and lot < 0.05 or pair == NEW and left_s < NEW_SINCE_S and lot < 0.005:
            kind = "failed"
        elif lot < (0.2 if pair == LOSSY else 0.0005):
            kind = "lossy"
        else:
            kind = "reset" if chance.random() < 0.02 else "good"
        story = chance.choice(by[kind])
        stretch = chance.lognormvariate(0, 0.5)
        if server[0] == SLOW and SLOW_BETWEEN_S[1] < left_s < SLOW_BETWEEN_S[0] and chance.random() < 1 / 30:
            stretch *= 20
        port = story[0].event["server"]["port"] if kind != "failed" else chance.choice((443, 5432, 6379))
        ports = (chance.randrange(32768, 61000), port)
        isns = (chance.getrandbits(32), chance.getrandbits(32))
        for line in story[: count - made]:
            host = (client if line.on_client else server)[0]
            ids[host] += 1
            yield line.told(ids[host], start, stretch, client, server, ports, isns)
        made += min(len(story), count - made)


if __name__ == "__main__":
    for text in generate(int(sys.argv[1]), *map(int, sys.argv[2:])):
        print(text)
