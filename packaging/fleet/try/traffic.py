"""Servers that behave in several ways, and a client that connects to all of them: `serve`, or `connect ADDRESS...`."""

import random
import socket
import struct
import sys
import threading
import time

ECHO, SLOW, RESETTING, CLOSED, REJECTED, DROPPED = 443, 5432, 6379, 9080, 9081, 9082


def abort(peer):
    """Closes so that a RST is sent instead of a FIN."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def answer(port, peer):
    try:
        while request := peer.recv(65536):
            if port == SLOW:
                time.sleep(random.expovariate(1 / 0.02))
            if port == RESETTING and random.random() < 0.3:
                return abort(peer)
            peer.sendall(b"x" * len(request) * random.choice([1, 10, 40]))
        peer.close()
    except OSError:
        peer.close()


def serve():
    def listen(port):
        listener = socket.create_server(
            ("::", port), family=socket.AF_INET6, backlog=256, dualstack_ipv6=True
        )
        while True:
            peer, _ = listener.accept()
            threading.Thread(target=answer, args=(port, peer), daemon=True).start()

    for port in (ECHO, SLOW, RESETTING):
        threading.Thread(target=listen, args=(port,), daemon=True).start()
    threading.Event().wait()


def connect(address, port):
    try:
        with socket.create_connection((address, port), timeout=6) as peer:
            for _ in range(random.choice([1, 1, 3])):
                peer.sendall(b"q" * random.randrange(50, 1400))
                peer.settimeout(30)
                peer.recv(65536)
                time.sleep(random.expovariate(1 / 0.05))
            if random.random() < 0.05:
                abort(peer)
    except OSError:
        pass


def main():
    if sys.argv[1] == "serve":
        return serve()
    ports = [ECHO] * 120 + [SLOW] * 60 + [RESETTING] * 40 + [CLOSED] * 6 + [REJECTED] * 4 + [DROPPED] * 4
    random.shuffle(ports)
    clients = []
    for number, port in enumerate(ports):
        address = sys.argv[2 + (number % 5 == 0) * (len(sys.argv) > 3)]
        clients.append(threading.Thread(target=connect, args=(address, port)))
        clients[-1].start()
        time.sleep(0.05)
    for client in clients:
        client.join()


main()
