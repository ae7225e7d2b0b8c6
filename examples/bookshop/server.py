#!/usr/bin/env python3
"""Serves the bookshop on the port of its settings. With --check it only reads them: what is missing is an error.

    /             the shelf
    /covers/...   what covers look like
    /health       200 if there is something to sell, else 503
"""
import configparser
import http.server
import os
import pathlib
import socket
import sys

os.chdir(pathlib.Path(__file__).resolve().parent)  # its own version, wherever "live" leads to later
settings = configparser.ConfigParser(interpolation=None)
settings.read_string(pathlib.Path("deploy/settings.ini").read_text("utf-8"))
shop = settings["shop"]
version = pathlib.Path("public/VERSION").read_text("utf-8").strip()
shelf = pathlib.Path("public/shelf.html").read_text("utf-8")
page = f"""<h1>{shop["title"]}</h1>
<p>{shop["notice"]}</p>
<ul>
{shelf}</ul>
<p>version {version}, on {socket.gethostname()}"""


class Shop(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/covers/"):
            super().do_GET()
        elif self.path == "/health":
            self.answer(200, "well") if shelf else self.answer(503, "the shelf is empty")
        elif self.path == "/":
            self.answer(200, page)
        else:
            self.send_error(404)

    def answer(self, status, text):
        body = (text + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if sys.argv[1:] != ["--check"]:
    http.server.ThreadingHTTPServer(("", shop.getint("port")), Shop).serve_forever()
