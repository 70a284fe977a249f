"""Python's X-Ray SDK and the sidecar read the same files of local rules and choose the same rule for every request.

The corpus is random with a fixed seed. Each rule keeps everything, so every request is recorded, and its document names
the rule that took it. The SDK's answer is its own: its loader, its order, its `wildcard_match`.

Two differences are known and kept out: the SDK compares the port of a host, too, and it takes a `*` in a request's path
for a wildcard's equal, so that `*a` does not match `*ba`.
"""

import http.client
import http.server
import json
import os
import random
import subprocess
import threading
import unittest

from aws_xray_sdk.core.sampling.local.sampler import LocalSampler

from world import BINARY, Sidecar, Sink

N_SETS = 40
N_REQUESTS = 256
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "get", "BREW"]


class Application(http.server.BaseHTTPRequestHandler):
    """Answers every method with nothing, in one write."""

    protocol_version = "HTTP/1.1"

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Chosen(LocalSampler):
    """The SDK's sampler, asked for the rule instead of the roll of a die."""

    def _should_trace(self, rule):
        return rule

    def number_of(self, host, method, path):
        """The rule's place in the file from 1, or 0 for the default."""
        rule = self.should_trace({"host": host, "method": method, "path": path})
        return next((n for n, other in enumerate(self._rules, 1) if other is rule), 0)


class Corpus:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def text(self, alphabet, least, most):
        return "".join(self.random.choice(alphabet) for _ in range(self.random.randint(least, most)))

    def host(self):
        return self.random.choice("ab") + self.text("abB.", 0, 5)

    def path(self):
        return "/" + self.text("abA/._~-", 0, 8)

    def pattern(self, text):
        """A pattern made from a text that it may well match, or from nothing."""
        kind = self.random.randrange(6)
        if kind == 0:
            return self.text("abAB/.*?", 1, 6)
        characters = list(text)
        for _ in range(self.random.randint(0, 3)):
            at = self.random.randrange(len(characters) + 1)
            until = min(len(characters), at + self.random.randint(0, 3))
            characters[at:until] = [self.random.choice(["*", "*", "?", "**", "a", ""])]
        return "".join(characters).swapcase() or "?"

    def requests(self):
        return [(self.host(), self.random.choice(METHODS), self.path()) for _ in range(N_REQUESTS)]

    def file(self, version, requests):
        """Rules made from requests, each of which looks at one to three of the fields."""

        def rule():
            host, method, path = self.random.choice(requests)
            looks = self.random.choice(["host", "path", "host path", "method path", "host method", "host method path"])
            method = self.random.choice([method, method.swapcase(), "p*", "?ET"])
            return {
                "host" if version == 2 else "service_name": self.pattern(host) if "host" in looks else "*",
                "http_method": method if "method" in looks else "*",
                "url_path": self.pattern(path) if "path" in looks else "*",
                "fixed_target": 0,
                "rate": 1,
            }

        default = {"fixed_target": 0, "rate": 1}
        rules = [rule() for _ in range(self.random.choice([3, 10, 30, 99, 150]))]
        return {"version": version, "rules": rules, "default": default}


class ChoosesTheSameRule(unittest.TestCase):
    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.upstream = "http://127.0.0.1:%d" % self.server.server_port

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()

    def ask(self, rules, requests):
        """The number of the rule that took each request, 0 for the default, in order."""
        sink = Sink()
        # The file's name, by which its rules are called, is `rules`.
        sidecar = Sidecar(self.upstream, "--sink", "udp://" + sink.address, rules=json.dumps(rules))
        try:
            connection = http.client.HTTPConnection(sidecar.ports["listen"], timeout=10)
            for number, (host, method, path) in enumerate(requests):
                connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
                connection.putheader("Host", host)
                connection.putheader("X-Amzn-Trace-Id", "Root=" + self.root(number))
                connection.endheaders()
                with connection.getresponse() as response:
                    self.assertEqual((response.status, response.read()), (200, b""), (host, method, path))
                # Read as it comes, so that no datagram is lost for want of room.
                sink.of(None)
            connection.close()
        finally:
            sidecar.close()
        sink.of(None)
        names = {document["trace_id"]: document["aws"]["xray"]["sampling_rule_name"] for document in sink.documents}
        sink.close()
        chosen = [names[self.root(number)] for number in range(len(requests))]
        return [0 if name == "Default" else int(name.removeprefix("rules-")) for name in chosen]

    @staticmethod
    def root(number):
        return "1-5759e988-%024x" % (number + 1)

    def test_on_a_random_corpus(self):
        n_cases, taken = 0, set()
        for seed in range(N_SETS):
            corpus = Corpus(seed)
            requests = corpus.requests()
            rules = corpus.file(1 + seed % 2, requests)
            sampler = Chosen(rules)
            expected = [sampler.number_of(*request) for request in requests]
            for request, theirs, ours in zip(requests, expected, self.ask(rules, requests), strict=True):
                self.assertEqual(ours, theirs, (seed, request, rules["rules"][max(theirs, ours) - 1]))
                taken.add((seed, ours))
                n_cases += 1
        self.assertGreaterEqual(n_cases, 10_000)
        # A corpus in which one rule took everything would prove nothing.
        self.assertGreater(len(taken), 5 * N_SETS)


class ReadsWhatWeExport(unittest.TestCase):
    def test_the_sdk_loads_an_exported_file(self):
        path = os.path.join(os.path.dirname(__file__), "../../rules/examples/demo.yaml")
        command = [BINARY, "rules", "export", "--format", "sdk-v2", "--expand", path]
        exported = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        sampler = Chosen(json.loads(exported))
        # Two health checks, made of a list, come before the checkout.
        self.assertEqual(sampler.number_of("shop", "GET", "/readyz"), 2)
        self.assertEqual(sampler.number_of("shop", "POST", "/checkout"), 3)
        self.assertEqual(sampler.number_of("shop", "GET", "/other"), 0)


if __name__ == "__main__":
    unittest.main()
