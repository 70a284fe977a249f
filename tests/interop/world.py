"""A sidecar, a UDP sink and a port to listen on, for the tests beside this file."""

import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request

BINARY = os.environ["COLLIMATOR_BIN"]
DEADLINE = 10.0
KEEP_ALL = "rules_version: 1\ndefault: { reservoir: 0, rate: 1 }\n"


def needs(present, package):
    """For tests with a program of Debian's: skipped where it is not installed, failed there if `REQUIRE_TOOLS=1`."""

    def decorate(case):
        if present:
            return case
        reason = f"Debian's package `{package}` is not installed"
        if os.environ.get("REQUIRE_TOOLS") != "1":
            return unittest.skip(reason)(case)

        class Missing(unittest.TestCase):
            def test_the_tool_is_installed(self):
                self.fail(reason)

        Missing.__name__ = Missing.__qualname__ = case.__name__
        return Missing

    return decorate


def needs_program(program, package=None):
    """As `needs`, for what is found by name."""
    return needs(shutil.which(program), package or program)


def wait_for(condition, what):
    """Polls until `condition()` is true; fails after `DEADLINE` seconds."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {DEADLINE} s: {what}")


class Sink:
    """Receives what an X-Ray daemon would."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.documents = []

    def of(self, trace_id):
        """The documents of one trace that have come so far."""
        return [document for document in self.all() if document["trace_id"] == trace_id]

    def all(self):
        """All documents that have come so far."""
        while True:
            try:
                datagram = self.socket.recv(65536)
            except BlockingIOError:
                return list(self.documents)
            header, _, body = datagram.partition(b"\n")
            assert json.loads(header) == {"format": "json", "version": 1}, header
            self.documents.append(json.loads(body))

    def close(self):
        self.socket.close()


def folder():
    """A folder that is gone when its context ends."""
    return tempfile.TemporaryDirectory()


class Certificates:
    """An authority, and what it signed: `server` for this machine's loopback, and `client`."""

    def __init__(self, folder):
        self.folder = folder
        self.make("ca", ["-x509", "-addext", "keyUsage=critical,keyCertSign"])
        for name, names in [("server", "DNS:localhost,IP:127.0.0.1"), ("client", "DNS:client")]:
            authority = ["-CA", self.path("ca.pem"), "-CAkey", self.path("ca.key")]
            self.make(name, ["-x509", *authority, "-addext", "subjectAltName=" + names])

    def path(self, name):
        return os.path.join(self.folder, name)

    def make(self, name, arguments):
        command = [
            "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", "/CN=" + name, "-days", "2", "-keyout", self.path(name + ".key"),
            "-out", self.path(name + ".pem"), *arguments,
        ]
        if name != "ca":
            command += ["-addext", "basicConstraints=critical,CA:FALSE"]
        subprocess.run(command, check=True, capture_output=True)

    def of_sidecar(self):
        """The settings of a sidecar that shows `server`."""
        return ["--tls-cert", self.path("server.pem"), "--tls-key", self.path("server.key")]


def serve():
    """An application that says hello; at `/slow?0.5` after half a second."""

    class Application(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 65536

        def do_GET(self):
            path, _, seconds = self.path.partition("?")
            if path == "/slow":
                time.sleep(float(seconds))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        do_POST = do_GET

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 1024

        def handle_error(self, *_):
            """A client that went away is nobody's error here."""

    server = Server(("127.0.0.1", 0), Application)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Sidecar:
    """A `collimator run` on ports of its own."""

    def __init__(self, upstream, *arguments, rules=None, environment=None):
        self.folder = tempfile.TemporaryDirectory()
        ports = os.path.join(self.folder.name, "ports.json")
        command = [
            BINARY, "run", "--upstream", upstream, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
            "--metrics", "127.0.0.1:0", "--drain-delay", "0s", *arguments,
        ]
        if rules is not None:
            path = os.path.join(self.folder.name, "rules.yaml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(rules)
            command += ["--rules", path]
        environment = {"PATH": os.environ["PATH"], "COLLIMATOR_PORT_FILE": ports, **(environment or {})}
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists(ports) or self.process.poll() is not None, "the port file")
        with open(ports, encoding="utf-8") as file:
            self.ports = json.load(file)
        self.url = "http://" + self.ports["listen"]

    def sums(self, name, **labels):
        """The sum of a metric's samples that have these labels."""
        with urllib.request.urlopen(f"http://{self.ports['metrics']}/metrics", timeout=DEADLINE) as answer:
            lines = answer.read().decode().splitlines()
        total = 0.0
        for line in lines:
            found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if found and found[1] == name:
                given = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
                if labels.items() <= given.items():
                    total += float(found[3])
        return total

    def close(self):
        """Stops it, which flushes its sinks."""
        self.process.terminate()
        assert self.process.wait(DEADLINE) == 0
        self.folder.cleanup()
