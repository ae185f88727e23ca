"""ClickHouse's HTTP interface as far as an insert needs it, before chdb: `front.py FOLDER PORT [FORGET [REFUSE]]`.

It stands for a server where none can be installed: what it hands on is a query and its data, and the answer is 200, or 500
with what chdb says. The first FORGET inserts are done and not answered, as when a network fails at the worst moment; the
next REFUSE are answered 500 and not done, as when a disk is full.
"""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from store import opened


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        query = parse_qs(urlsplit(self.path).query)["query"][0]
        is_insert = query.startswith("INSERT")
        with turns:
            forget, refuse = (
                is_insert and faults["forget"] > 0,
                is_insert and faults["forget"] == 0 and faults["refuse"] > 0,
            )
            faults["forget"] -= forget
            faults["refuse"] -= refuse
            try:
                answer, code = (
                    ("", 500)
                    if refuse
                    else (str(store.query(f"{query}\n{body.decode()}", "TabSeparated")), 200)
                )
            except RuntimeError as error:
                answer, code = str(error), 500
        if is_insert:
            print(
                f"{query.split()[2]}: {body.count(10) + 1} lines, {code}{', not answered' if forget else ''} {answer[:300]}",
                flush=True,
            )
        if forget:
            self.close_connection = True
            return
        self.send_response(code)
        self.send_header("Content-Length", str(len(answer.encode())))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_):
        pass


store, turns = opened(sys.argv[1]), threading.Lock()
faults = dict(zip(("forget", "refuse"), [*map(int, sys.argv[3:]), 0, 0]))
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
