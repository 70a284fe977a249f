"""gRPC's own client and server, with the sidecar between them: every kind of call, every status, and what is recorded."""

import threading
import time
import unittest
from concurrent import futures

import grpc
import world

TRACE = "1-5759e988-bd862e3fe1be46a994272793"
# Which codes are the caller's doing and which the application's: https://cloud.google.com/apis/design/errors says what
# each is in HTTP.
ERRORS = {
    grpc.StatusCode.CANCELLED, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE,
}
FAULTS = {
    grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS,
}


class Application:
    """Speaks in bytes, so that no schema is needed."""

    def __init__(self):
        self.metadata = []
        self.cancelled = threading.Event()
        self.time_left = None

    def seen(self, context):
        self.metadata.append(dict(context.invocation_metadata()))

    def unary(self, message, context):
        self.seen(context)
        context.send_initial_metadata([("x-first", "1"), ("x-bytes-bin", b"\0\xff")])
        context.set_trailing_metadata([("x-last", "2")])
        return message[::-1]

    def fail(self, message, context):
        self.seen(context)
        code = next(code for code in grpc.StatusCode if code.value[0] == message[0])
        context.abort(code, "so it went: é")

    def count(self, message, context):
        self.seen(context)
        for n in range(message[0]):
            yield bytes([n])

    def collect(self, messages, context):
        self.seen(context)
        return b"".join(messages)

    def echo(self, messages, context):
        self.seen(context)
        for message in messages:
            yield message

    def wait(self, _, context):
        """Sends one message, and nothing more until the call ends."""
        self.seen(context)
        context.add_callback(self.cancelled.set)
        self.time_left = context.time_remaining()
        yield b"first"
        self.cancelled.wait(world.DEADLINE)

    def serve(self):
        kinds = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Collect": grpc.stream_unary_rpc_method_handler(self.collect),
            "Echo": grpc.stream_stream_rpc_method_handler(self.echo),
            "Wait": grpc.unary_stream_rpc_method_handler(self.wait),
        }
        server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Service", kinds)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return server, port


class Calls:
    """The tests; how the client connects is a matter of those that are at the end."""

    def setUp(self):
        self.application = Application()
        self.server, port = self.application.serve()
        self.sink = world.Sink()
        self.sidecar = world.Sidecar(
            f"h2c://127.0.0.1:{port}", "--service-name", "front", "--sink", "udp://" + self.sink.address,
            *self.settings(), rules=world.KEEP_ALL,
        )
        self.channel = self.connect(self.sidecar.ports["listen"])

    def tearDown(self):
        self.channel.close()
        self.sidecar.close()
        self.server.stop(0).wait()
        self.sink.close()

    def call(self, kind, name):
        return getattr(self.channel, kind)("/test.Service/" + name)

    def document(self, n=1):
        """The latest of so many documents."""
        return world.wait_for(lambda: self.sink.all()[n - 1 : n], f"document {n}")[0]

    def check(self, document, flags, status=0):
        """What was recorded of one call."""
        said = {flag for flag in ["error", "throttle", "fault"] if document.get(flag)}
        self.assertEqual(said, flags, document)
        self.assertEqual(document["annotations"]["grpc_status"], str(status))
        self.assertEqual(document["http"]["response"]["status"], 200)

    def test_unary(self):
        mine = [("x-mine", "1"), ("x-mine-bin", b"\0\1\xfe"), ("x-amzn-trace-id", f"Root={TRACE};Sampled=1")]
        answer, call = self.call("unary_unary", "Unary").with_call(b"message", metadata=mine, timeout=5)
        self.assertEqual((answer, call.code()), (b"egassem", grpc.StatusCode.OK))
        first, last = dict(call.initial_metadata()), dict(call.trailing_metadata())
        self.assertEqual((first["x-first"], first["x-bytes-bin"], last["x-last"]), ("1", b"\0\xff", "2"))
        seen = self.application.metadata[0]
        self.assertEqual((seen["x-mine"], seen["x-mine-bin"]), ("1", b"\0\1\xfe"))
        self.assertRegex(seen["x-amzn-trace-id"], f"^Root={TRACE};Parent=[0-9a-f]{{16}};Sampled=1$")
        self.assertRegex(seen["traceparent"], "^00-5759e988bd862e3fe1be46a994272793-[0-9a-f]{16}-0[13]$")
        document = self.document()
        self.check(document, set())
        self.assertEqual(document["trace_id"], TRACE)
        self.assertIn(document["subsegments"][0]["id"], seen["x-amzn-trace-id"])
        self.assertEqual(document["http"]["request"]["url"].split("/", 3)[3], "test.Service/Unary")

    def test_each_status(self):
        self.assertEqual(ERRORS | FAULTS | {grpc.StatusCode.OK}, set(grpc.StatusCode))
        for n, code in enumerate(sorted(ERRORS | FAULTS, key=lambda code: code.value[0]), start=1):
            with self.subTest(code=code.name):
                with self.assertRaises(grpc.RpcError) as raised:
                    self.call("unary_unary", "Fail")(bytes([code.value[0]]), timeout=5)
                self.assertEqual((raised.exception.code(), raised.exception.details()), (code, "so it went: é"))
                flags = {"fault"} if code in FAULTS else {"error"}
                if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    flags.add("throttle")
                self.check(self.document(n), flags, code.value[0])

    def test_a_method_that_is_not_there(self):
        with self.assertRaises(grpc.RpcError) as raised:
            self.call("unary_unary", "Nothing")(b"", timeout=5)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNIMPLEMENTED)
        self.check(self.document(), {"fault"}, 12)

    def test_server_streaming(self):
        self.assertEqual(list(self.call("unary_stream", "Count")(b"\xff", timeout=5)), [bytes([n]) for n in range(255)])
        self.check(self.document(), set())

    def test_client_streaming(self):
        pieces = [bytes([n]) * 1000 for n in range(256)]
        self.assertEqual(self.call("stream_unary", "Collect")(iter(pieces), timeout=5), b"".join(pieces))
        self.check(self.document(), set())

    def test_both_streaming_in_turn(self):
        """Each message is sent when the answer to the one before it has come."""
        turn = threading.Semaphore(1)

        def messages():
            for n in range(100):
                turn.acquire(timeout=5)
                yield bytes([n])

        answers = []
        for answer in self.call("stream_stream", "Echo")(messages(), timeout=10):
            answers.append(answer)
            turn.release()
        self.assertEqual(answers, [bytes([n]) for n in range(100)])
        self.check(self.document(), set())

    def test_large_messages(self):
        message = bytes(range(256)) * 8192
        answers = self.call("stream_stream", "Echo")(iter([message] * 4), timeout=10)
        self.assertEqual([answer == message for answer in answers], [True] * 4)

    def test_many_at_once(self):
        unary = self.call("unary_unary", "Unary")
        calls = [(n, unary.future(str(n).encode(), timeout=10)) for n in range(500)]
        self.assertEqual([call.result() for _, call in calls], [str(n).encode()[::-1] for n, _ in calls])
        # Too many for the buffer of a socket that nobody reads meanwhile, so they are counted where they leave.
        emitted = lambda: self.sidecar.sums("collimator_segments_emitted_total")
        world.wait_for(lambda: emitted() == 500, "all are recorded")

    def test_a_deadline_that_passes(self):
        start = time.monotonic()
        call = self.call("unary_stream", "Wait")(b"", timeout=0.5)
        with self.assertRaises(grpc.RpcError) as raised:
            list(call)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertLess(time.monotonic() - start, 5)
        self.assertTrue(self.application.cancelled.wait(world.DEADLINE), "the application is told")
        # gRPC rounds up what it writes of a deadline, and the other side reads it by a clock of its own.
        self.assertTrue(0 < self.application.time_left <= 0.55, self.application.time_left)
        document = self.document()
        # Both sides know the deadline. If the client gives up first, nobody is at fault.
        if "client_closed" in document["annotations"]:
            self.assertNotIn("fault", document)
        else:
            self.check(document, {"fault"}, 4)

    def test_a_call_that_is_cancelled(self):
        call = self.call("unary_stream", "Wait")(b"")
        self.assertEqual(next(call), b"first", "a message comes through before the call ends")
        call.cancel()
        self.assertEqual(call.code(), grpc.StatusCode.CANCELLED)
        self.assertTrue(self.application.cancelled.wait(world.DEADLINE), "the application is told")
        document = self.document()
        self.assertNotIn("fault", document)
        self.assertIs(document["annotations"]["client_closed"], True)
        in_flight = lambda: self.sidecar.sums("collimator_requests_in_flight")
        world.wait_for(lambda: in_flight() == 0, "nothing is left in flight")

    def test_a_call_that_is_cancelled_within_its_messages(self):
        more = threading.Event()

        def messages():
            yield b"first"
            more.wait(world.DEADLINE)

        call = self.call("stream_stream", "Echo")(messages())
        self.assertEqual(next(call), b"first")
        call.cancel()
        more.set()
        document = self.document()
        self.assertNotIn("fault", document)
        self.assertIs(document["annotations"]["client_closed"], True)
        self.assertEqual(self.sidecar.sums("collimator_upstream_errors_total"), 0)

    def test_an_application_that_is_gone(self):
        self.server.stop(0).wait()
        with self.assertRaises(grpc.RpcError) as raised:
            self.call("unary_unary", "Unary")(b"", timeout=8)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertTrue(self.document()["fault"])


class Plain(Calls, unittest.TestCase):
    def settings(self):
        return []

    def connect(self, address):
        return grpc.insecure_channel(address)


@world.needs_program("openssl")
class Secure(Calls, unittest.TestCase):
    def settings(self):
        self.certificates = world.Certificates(self.enterContext(world.folder()))
        return self.certificates.of_sidecar()

    def connect(self, address):
        with open(self.certificates.path("ca.pem"), "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        return grpc.secure_channel(address, credentials)


if __name__ == "__main__":
    unittest.main()
