"""Python's X-Ray SDK as the application's SDK: it continues our trace and obeys our decision."""

import http.server
import threading
import unittest
import urllib.request

from aws_xray_sdk.core import xray_recorder
from aws_xray_sdk.core.models.trace_header import TraceHeader

from world import Sidecar, Sink

KEEP = "rules_version: 1\ndefault: { reservoir: 0, rate: 1 }\n"
DROP = "rules_version: 1\ndefault: { reservoir: 0, rate: 0 }\n"
ROOT = "1-5759e988-bd862e3fe1be46a994272793"


class Application(http.server.BaseHTTPRequestHandler):
    """Opens a segment as the SDK's own middlewares do: from the header, with the SDK's parser and recorder."""

    protocol_version = "HTTP/1.1"
    headers_seen = []

    def do_GET(self):
        text = self.headers["X-Amzn-Trace-Id"]
        Application.headers_seen.append(text)
        header = TraceHeader.from_header_str(text)
        segment = xray_recorder.begin_segment(
            name="application", traceid=header.root, parent_id=header.parent, sampling=header.sampled
        )
        segment.put_http_meta("status", 200)
        xray_recorder.end_segment()
        body = b"hello"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class ContinuesTrace(unittest.TestCase):
    def setUp(self):
        self.sink = Sink()
        # The SDK and the sidecar send to the same daemon, as in a task.
        xray_recorder.configure(
            service="application", daemon_address=self.sink.address, sampling=True, context_missing="RUNTIME_ERROR"
        )
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.upstream = "http://127.0.0.1:%d" % self.server.server_port

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()
        self.sink.close()

    def ask(self, rules, header=None):
        """One request through a sidecar; the header the application saw, and every document of its trace."""
        Application.headers_seen.clear()
        sidecar = Sidecar(self.upstream, "--service-name", "front", "--sink", "udp://" + self.sink.address, rules=rules)
        try:
            request = urllib.request.Request(sidecar.url + "/path?secret=1")
            if header:
                request.add_header("X-Amzn-Trace-Id", header)
            with urllib.request.urlopen(request, timeout=5) as response:
                self.assertEqual(response.read(), b"hello")
        finally:
            # Stopping flushes the sidecar's sink, so that nothing needs to be waited for.
            sidecar.close()
        seen = TraceHeader.from_header_str(Application.headers_seen[0])
        return seen, self.sink.of(seen.root)

    def assert_nested(self, documents):
        front = next(document for document in documents if document["name"] == "front")
        application = next(document for document in documents if document["name"] == "application")
        self.assertEqual(len(documents), 2)
        self.assertEqual(application["parent_id"], front["subsegments"][0]["id"])
        self.assertEqual(application["trace_id"], front["trace_id"])
        self.assertLessEqual(front["start_time"], application["start_time"])
        return front

    def test_a_kept_request_is_kept_there_too_and_hangs_under_ours(self):
        seen, documents = self.ask(KEEP)
        self.assertEqual(seen.sampled, 1)
        front = self.assert_nested(documents)
        self.assertNotIn("parent_id", front)
        self.assertEqual(front["aws"]["xray"]["sampling_rule_name"], "Default")

    def test_a_dropped_request_is_dropped_there_too(self):
        seen, documents = self.ask(DROP)
        self.assertEqual(seen.sampled, 0)
        self.assertIsNotNone(seen.parent)
        self.assertEqual(documents, [])

    def test_a_callers_keep_goes_through_both(self):
        seen, documents = self.ask(DROP, f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1")
        self.assertEqual((seen.root, seen.sampled), (ROOT, 1))
        self.assertEqual(self.assert_nested(documents)["parent_id"], "53995c3f42cd8ad8")

    def test_a_callers_drop_goes_through_both(self):
        seen, documents = self.ask(KEEP, f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=0")
        self.assertEqual((seen.root, seen.sampled), (ROOT, 0))
        self.assertEqual(documents, [])

    def test_a_load_balancers_root_is_continued(self):
        seen, documents = self.ask(KEEP, f"Self=1-67891234-12456789abcdef0123456789;Root={ROOT}")
        self.assertEqual(seen.root, ROOT)
        self.assert_nested(documents)


if __name__ == "__main__":
    unittest.main()
