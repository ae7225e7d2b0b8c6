#!/usr/bin/env python3
"""A small shop. It says which version it is, takes its time where it is asked for a report, says whether it is well, and ends
without breaking off what it has begun.

    /         the catalogue
    /slow     a report, in two halves; slow.seconds lie between them
    /health   200 if it can do its work, else 503 and why not

It reads its files once, when it starts: the directory of its own version, wherever "live" leads to later.
"""
import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HERE = os.path.dirname(os.path.realpath(__file__))


def read(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as f:
        return f.read()


class Shop:
    """What this version sells, under which configuration."""

    def __init__(self):
        self.version = read("VERSION").strip()
        self.host = socket.gethostname()
        self.settings = json.loads(read("deploy/configuration.json"))
        self.ill, self.goods = "", []
        try:
            self.goods = json.loads(read("catalogue.json"))["goods"]
        except (OSError, ValueError, KeyError) as e:
            self.ill = f"no catalogue: {e!r}"

    def page(self):
        rows = "".join(f"{g['name']}: {g['price']}\n" for g in self.goods)
        return f"{self.settings['shop']['title']}, version {self.version}, on {self.host}\n{rows}"


class Server(ThreadingHTTPServer):
    """A web server that can end: it takes no new connections, closes those that wait for nothing, and answers the rest."""

    daemon_threads = False  # server_close waits for all
    request_queue_size = 256

    def __init__(self, address, shop):
        super().__init__(address, Handler)
        self.shop, self.lock, self.idle, self.ending = shop, threading.Lock(), set(), False

    def waits(self, connection):
        with self.lock:
            self.idle.add(connection)
            if self.ending:
                connection.shutdown(socket.SHUT_RD)

    def works(self, connection):
        with self.lock:
            self.idle.discard(connection)
            return self.ending

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # who only looked whether somebody listens
            super().handle_error(request, client_address)

    def end(self):
        self.shutdown()
        with self.lock:
            self.ending = True
            for connection in self.idle:
                try:
                    connection.shutdown(socket.SHUT_RD)
                except OSError:
                    pass  # the other side was faster
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet for an answer
    timeout = 60

    def handle_one_request(self):
        self.server.waits(self.connection)
        super().handle_one_request()

    def finish(self):
        self.server.works(self.connection)
        super().finish()

    def do_GET(self):
        if self.server.works(self.connection):
            self.close_connection = True
        shop = self.server.shop
        if self.path == "/health":
            self.answer(503 if shop.ill else 200, shop.ill or "well")
        elif shop.ill:
            self.answer(500, shop.ill)
        elif self.path == "/":
            self.answer(200, shop.page())
        elif self.path == "/slow":
            self.answer(200, "a report\n" + shop.page(), shop.settings["slow"]["seconds"])
        else:
            self.answer(404, "there is no such page")

    def answer(self, status, text, seconds=0):
        body = (text + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Version", self.server.shop.version)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        half = len(body) // 2 if seconds else 0
        self.wfile.write(body[:half])
        if seconds:
            self.wfile.flush()
            time.sleep(seconds)
        self.wfile.write(body[half:])

    def log_message(self, *_):
        pass  # the balancer has a log


def main():
    # Blocked here, and so in all threads: only the wait below takes them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    shop = Shop()
    server = Server(("", shop.settings["port"]), shop)
    threading.Thread(target=server.serve_forever, args=(0.2,)).start()
    print(f"shop {shop.version} serves on port {shop.settings['port']}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.end()
    print(f"shop {shop.version} has ended", flush=True)


if __name__ == "__main__":
    main()
