"""curl as the client: each protocol it speaks, bodies in both directions, trailers, and certificates."""

import hashlib
import http.server
import json
import os
import random
import subprocess
import threading
import unittest

import world

SIZE = 20_000_000


def content(size):
    """Bytes that are the same each time and do not repeat."""
    return random.Random(4).randbytes(size)


class Application(http.server.BaseHTTPRequestHandler):
    """Tells what it saw, sums up what it is sent, and sends what can be summed up."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        path, _, argument = self.path.partition("?")
        if path == "/trailers":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Trailer", "X-Sum")
            self.end_headers()
            self.wfile.write(b"5\r\nhello\r\n0\r\nX-Sum: 5d41402a\r\n\r\n")
            return
        if path == "/download":
            self.answer(content(int(argument)))
            return
        headers = [[name.lower(), value] for name, value in self.headers.items()]
        self.answer(json.dumps({"method": self.command, "path": self.path, "headers": headers}).encode())

    do_HEAD = do_GET

    def do_POST(self):
        digest, size = hashlib.sha256(), 0
        for piece in self.body():
            digest.update(piece)
            size += len(piece)
        self.answer(f"{size} {digest.hexdigest()}".encode())

    do_PUT = do_POST

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            piece = self.rfile.read(min(left, 65536))
            left -= len(piece)
            yield piece

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@world.needs_program("curl")
@world.needs_program("openssl")
class Curl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
        cls.server.daemon_threads = True
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.upstream = "http://127.0.0.1:%d" % cls.server.server_port
        cls.folder = cls.enterClassContext(world.folder())
        cls.certificates = world.Certificates(cls.folder)
        cls.plain = world.Sidecar(cls.upstream, "--sink", "none")
        cls.secure = world.Sidecar(cls.upstream, "--sink", "none", *cls.certificates.of_sidecar())
        cls.secure_url = cls.secure.url.replace("http:", "https:")
        cls.file = os.path.join(cls.folder, "file")
        with open(cls.file, "wb") as file:
            file.write(content(SIZE))

    @classmethod
    def tearDownClass(cls):
        cls.plain.close()
        cls.secure.close()
        cls.server.shutdown()
        cls.server.server_close()

    def curl(self, *arguments, codes=(0,)):
        """Runs curl; what it says of the answer, the body, and its talk."""
        body = os.path.join(self.folder, "body")
        if os.path.exists(body):
            os.remove(body)
        command = [
            "curl", "--silent", "--show-error", "--max-time", "20", "--cacert", self.certificates.path("ca.pem"),
            "--output", body, "--write-out", "%{http_code} %{http_version}", *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        self.assertIn(done.returncode, codes, done.stderr)
        data = b""
        if os.path.exists(body):
            with open(body, "rb") as file:
                data = file.read()
        return done.stdout, data, done.stderr

    def ways(self):
        """Each protocol: how curl is told, where, and what it says it was."""
        return [
            ("HTTP/1.0", ["--http1.0"], self.plain.url, None),
            ("HTTP/1.1", ["--http1.1"], self.plain.url, "1.1"),
            ("h2c", ["--http2-prior-knowledge"], self.plain.url, "2"),
            ("HTTP/1.1 over TLS", ["--http1.1"], self.secure_url, "1.1"),
            ("HTTP/2 over TLS", ["--http2"], self.secure_url, "2"),
            ("HTTP/2 over TLS 1.2", ["--http2", "--tls-max", "1.2"], self.secure_url, "2"),
        ]

    def each(self, check, but=()):
        """Checks each protocol by itself."""
        for name, how, url, version in self.ways():
            if name not in but:
                with self.subTest(protocol=name):
                    check(how, url, version)

    def test_each_protocol(self):
        def check(how, url, version):
            said, body, _ = self.curl(*how, "--header", "X-Mine: 1", "--header", "TE: trailers", url + "/path?query=1")
            status, spoken = said.split()
            self.assertEqual(status, "200")
            self.assertIn(spoken, [version] if version else ["1", "1.0", "1.1"])
            seen = json.loads(body)
            headers = dict(seen["headers"])
            self.assertEqual((seen["method"], seen["path"]), ("GET", "/path?query=1"))
            self.assertEqual(len(headers), len(seen["headers"]), "a header came twice")
            self.assertEqual((headers["x-mine"], headers["te"]), ("1", "trailers"))
            self.assertEqual(headers["host"], url.split("//")[1])
            self.assertEqual(headers["x-forwarded-proto"], url.split(":")[0])
            self.assertIn("Root=1-", headers["x-amzn-trace-id"])

        self.each(check)

    def test_an_upgrade_to_h2c_is_passed_over(self):
        said, body, _ = self.curl("--http2", self.plain.url + "/")
        self.assertEqual(said, "200 1.1")
        headers = dict(json.loads(body)["headers"])
        self.assertEqual(headers.keys() & {"upgrade", "http2-settings", "connection"}, set())

    def test_an_upload_waits_to_be_asked_for(self):
        for how in (["--http1.1", self.plain.url + "/up"], ["--http1.1", self.secure_url + "/up"]):
            waiting = ["--verbose", "--header", "Expect: 100-continue", "--data-binary", "hello"]
            said, body, talk = self.curl(*waiting, *how)
            self.assertEqual((said, body), ("200 1.1", b"5 " + hashlib.sha256(b"hello").hexdigest().encode()))
            self.assertIn("< HTTP/1.1 100 Continue", talk)

    def test_large_uploads_arrive_whole(self):
        expected = f"{SIZE} {hashlib.sha256(content(SIZE)).hexdigest()}".encode()
        def check(how, url, _):
            said, body, _ = self.curl(*how, "--upload-file", self.file, url + "/up")
            self.assertEqual((said.split()[0], body), ("200", expected))

        self.each(check)

    def test_uploads_of_unknown_length_arrive_whole(self):
        expected = f"{SIZE} {hashlib.sha256(content(SIZE)).hexdigest()}".encode()

        def check(how, url, _):
            header = "Transfer-Encoding: chunked" if how == ["--http1.1"] else "Content-Length:"
            said, body, _ = self.curl(*how, "--header", header, "--upload-file", self.file, url + "/up")
            self.assertEqual((said.split()[0], body), ("200", expected))

        self.each(check, but=["HTTP/1.0"])

    def test_large_downloads_arrive_whole(self):
        expected = hashlib.sha256(content(SIZE)).digest()
        def check(how, url, _):
            said, body, _ = self.curl(*how, f"{url}/download?{SIZE}")
            self.assertEqual((said.split()[0], len(body), hashlib.sha256(body).digest()), ("200", SIZE, expected))

        self.each(check)

    def test_a_head_keeps_its_length(self):
        def check(how, url, _):
            headers = os.path.join(self.folder, "headers")
            said, body, _ = self.curl(*how, "--head", "--dump-header", headers, url + "/download?1234")
            self.assertEqual(said.split()[0], "200")
            with open(headers, encoding="ascii") as file:
                self.assertIn("content-length: 1234", file.read().lower().splitlines())

        self.each(check)

    def test_trailers_are_shown(self):
        def check(how, url, version):
            headers = os.path.join(self.folder, "headers")
            said, body, _ = self.curl(*how, "--header", "TE: trailers", "--dump-header", headers, url + "/trailers")
            self.assertEqual((said.split()[0], body), ("200", b"hello"))
            with open(headers, encoding="ascii") as file:
                self.assertEqual(file.read().lower().split("\n\n")[-1].split()[-2:], ["x-sum:", "5d41402a"])

        self.each(check, but=["HTTP/1.0"])

    def test_many_requests_take_one_connection(self):
        def check(how, url, _):
            done = subprocess.run(
                ["curl", "--silent", "--cacert", self.certificates.path("ca.pem"), *how, "--max-time", "20",
                 "--write-out", "%{http_code} %{num_connects}\n", "--output", "/dev/null", url + "/[1-20]"],
                capture_output=True, text=True, timeout=30,
            )
            self.assertEqual(done.stdout.split("\n"), ["200 1"] + 19 * ["200 0"] + [""], done.stderr)

        # curl before 8.0 cannot use a connection of h2c twice: https://github.com/curl/curl/issues/10634.
        self.each(check, but=["HTTP/1.0", "h2c"])

    def test_old_tls_is_refused(self):
        before = self.secure.sums("collimator_tls_handshakes_total", side="inbound", result="failed")
        # At this level OpenSSL itself would still speak TLS 1.0.
        old = ["--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"]
        _, _, said = self.curl(*old, self.secure_url, codes=[35])
        self.assertIn("alert", said)
        world.wait_for(
            lambda: self.secure.sums("collimator_tls_handshakes_total", side="inbound", result="failed") > before,
            "the handshake is counted as failed",
        )

    def test_an_authority_that_is_not_ours_is_not_trusted(self):
        self.curl("--cacert", self.certificates.path("client.pem"), self.secure_url, codes=[60])

    def test_a_certificate_is_asked_for(self):
        path = self.certificates.path
        sidecar = world.Sidecar(
            self.upstream, "--sink", "none", *self.certificates.of_sidecar(), "--tls-client-ca", path("ca.pem"),
        )
        try:
            url = sidecar.url.replace("http:", "https:")
            shown = ["--cert", path("client.pem"), "--key", path("client.key")]
            self.certificates.make("stranger", ["-x509"])
            stranger = ["--cert", path("stranger.pem"), "--key", path("stranger.key")]
            for how, version in [("--http1.1", "1.1"), ("--http2", "2")]:
                self.assertEqual(self.curl(how, *shown, url)[0], "200 " + version)
                for wrong in [], stranger:
                    for tls in ["1.2", "1.3"]:
                        # With TLS 1.3 the refusal finds curl where its own handshake is over, anywhere it may be.
                        said, body, _ = self.curl(how, "--tls-max", tls, *wrong, url, codes=range(1, 100))
                        self.assertEqual((said, body), ("000 0", b""))
            failed = lambda: sidecar.sums("collimator_tls_handshakes_total", side="inbound", result="failed")
            world.wait_for(lambda: failed() == 8, "eight handshakes are counted as failed")
        finally:
            sidecar.close()


if __name__ == "__main__":
    unittest.main()
