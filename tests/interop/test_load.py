"""h2load and wrk: many requests at a time, none of which is lost, refused, or miscounted."""

import os
import re
import subprocess
import unittest

import world

REQUESTS = 3_000


class Load(unittest.TestCase):
    def setUp(self):
        self.server = world.serve()
        self.upstream = "http://127.0.0.1:%d" % self.server.server_port

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()

    def check_counters(self, sidecar, n):
        """So many requests were answered 200, none in another way, and none was sent twice."""
        counted = lambda **labels: sidecar.sums("collimator_requests_total", direction="inbound", **labels)
        world.wait_for(lambda: counted() >= n, "the requests are counted")
        self.assertEqual((counted(http_response_status_code="200"), counted()), (n, n))
        self.assertEqual(sidecar.sums("collimator_upstream_errors_total"), 0)
        self.assertEqual(sidecar.sums("collimator_upstream_retries_total"), 0)
        idle = lambda: sidecar.sums("collimator_connections") == 0 == sidecar.sums("collimator_requests_in_flight")
        world.wait_for(idle, "nothing is left open")


@world.needs_program("h2load", "nghttp2-client")
@world.needs_program("openssl")
class H2load(Load):
    def check(self, options, url, sidecar, protocol):
        command = ["h2load", "-n", str(REQUESTS), "-c", "10", "-t", "1", *options, url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        n = REQUESTS
        self.assertIn(
            f"requests: {n} total, {n} started, {n} done, {n} succeeded, 0 failed, 0 errored, 0 timeout", done.stdout,
        )
        self.assertIn(f"status codes: {n} 2xx, 0 3xx, 0 4xx, 0 5xx", done.stdout)
        self.assertIn(f"Application protocol: {protocol}", done.stdout)
        # Five bytes are in each answer.
        self.assertRegex(done.stdout, rf"\({5 * n}\) data")
        self.check_counters(sidecar, n)

    def test_plain(self):
        for options, protocol in [(["-m", "20"], "h2c"), (["--h1"], "http/1.1")]:
            with self.subTest(protocol=protocol):
                sidecar = world.Sidecar(self.upstream, "--sink", "none")
                try:
                    self.check(options, sidecar.url, sidecar, protocol)
                finally:
                    sidecar.close()

    def test_tls(self):
        with world.folder() as folder:
            certificates = world.Certificates(folder)
            for options, protocol in [(["-m", "20"], "h2"), (["--h1"], "http/1.1")]:
                with self.subTest(protocol=protocol):
                    sidecar = world.Sidecar(self.upstream, "--sink", "none", *certificates.of_sidecar())
                    try:
                        self.check(options, sidecar.url.replace("http:", "https:"), sidecar, protocol)
                        handshakes = sidecar.sums("collimator_tls_handshakes_total", side="inbound", result="ok")
                        self.assertEqual(handshakes, 10)
                    finally:
                        sidecar.close()

    def test_bodies(self):
        with world.folder() as folder:
            body = os.path.join(folder, "body")
            with open(body, "wb") as file:
                file.write(os.urandom(10_000))
            sidecar = world.Sidecar(self.upstream, "--sink", "none")
            try:
                self.check(["-m", "20", "-d", body], sidecar.url, sidecar, "h2c")
            finally:
                sidecar.close()


@world.needs_program("wrk")
class Wrk(Load):
    def test_kept_connections(self):
        connections = 32
        sidecar = world.Sidecar(self.upstream, "--sink", "none")
        try:
            command = ["wrk", "-t", "1", "-c", str(connections), "-d", "3s", "--timeout", "5s", sidecar.url]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("Socket errors", done.stdout)
            self.assertNotIn("Non-2xx", done.stdout)
            n = int(re.search(r"(\d+) requests in", done.stdout)[1])
            self.assertGreater(n, 500)
            counted = lambda **labels: sidecar.sums("collimator_requests_total", direction="inbound", **labels)
            world.wait_for(lambda: sidecar.sums("collimator_requests_in_flight") == 0, "all requests are over")
            # When its time is up, wrk leaves each connection in the middle of a request.
            self.assertLessEqual(n, counted(http_response_status_code="200"))
            self.assertLessEqual(counted(), n + connections)
            self.assertEqual(sidecar.sums("collimator_upstream_errors_total"), 0)
        finally:
            sidecar.close()



if __name__ == "__main__":
    unittest.main()
