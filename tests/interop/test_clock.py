"""A wall clock that is set back, set forward, and stands still, by libfaketime: only the starts of documents follow it.

The clock of durations is left alone, as it is by whoever sets a clock: `settimeofday` does not move CLOCK_MONOTONIC."""

import glob
import os
import threading
import time
import unittest
import urllib.request

import world

LIBRARY = (glob.glob("/usr/lib/*/faketime/libfaketime.so.1") or [None])[0]
RULES = "rules_version: 1\ndefault: { reservoir: 2, rate: 0 }\n"
HOUR = 3600


@world.needs(LIBRARY, "faketime")
class Clock(unittest.TestCase):
    def setUp(self):
        self.sink = world.Sink()
        self.server = world.serve()
        # A file that is read again at each look at the clock; replaced whole, so that it is never seen half.
        self.setting = os.path.join(self.enterContext(world.folder()), "clock")
        self.set("+0")
        environment = {
            "LD_PRELOAD": LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": self.setting,
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.sidecar = world.Sidecar(
            "http://127.0.0.1:%d" % self.server.server_port,
            "--sink", "udp://" + self.sink.address, rules=RULES, environment=environment,
        )

    def tearDown(self):
        self.sidecar.close()
        self.server.shutdown()
        self.server.server_close()
        self.sink.close()

    def set(self, text):
        with open(self.setting + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(self.setting + ".new", self.setting)

    def burst(self, seconds):
        """Asks for so long; the documents of those that were kept, and how long it took."""
        start, before = time.monotonic(), len(self.sink.all())
        asked = 0
        while time.monotonic() - start < seconds:
            with urllib.request.urlopen(self.sidecar.url + "/") as answer:
                self.assertEqual(answer.status, 200)
            asked += 1
        took = time.monotonic() - start
        self.assertGreater(asked, 20)
        time.sleep(0.1)  # What is on the way arrives; a document too few would fail the lower bound.
        return self.sink.all()[before:], took

    def check(self, documents, took, offset):
        """Neither frozen nor flooding: two a second, and one second's worth more."""
        self.assertGreaterEqual(len(documents), 2 * int(took) - 1)
        self.assertLessEqual(len(documents), 2 * (int(took) + 2))
        for document in documents:
            self.assertGreaterEqual(document["end_time"], document["start_time"])
            self.assertLess(document["end_time"] - document["start_time"], 5)
            self.assertAlmostEqual(document["start_time"] - time.time(), offset, delta=30)
            epoch = int(document["trace_id"].split("-")[1], 16)
            self.assertAlmostEqual(epoch - time.time(), offset, delta=30)

    def test_steps(self):
        for text, offset in [("+0", 0), ("-1h", -HOUR), ("+0", 0), ("+1h", HOUR), ("+0", 0)]:
            with self.subTest(clock=text):
                self.set(text)
                self.check(*self.burst(2.2), offset)

    def test_a_step_within_a_request(self):
        for text in ["-1h", "+1h"]:
            with self.subTest(clock=text):
                self.set("+0")
                before = len(self.sink.all())
                asking = threading.Thread(target=urllib.request.urlopen, args=[self.sidecar.url + "/slow?0.5"])
                asking.start()
                time.sleep(0.2)
                self.set(text)
                asking.join()
                documents = world.wait_for(lambda: self.sink.all()[before:], "the document")
                elapsed = documents[0]["end_time"] - documents[0]["start_time"]
                self.assertTrue(0.4 < elapsed < 3, elapsed)

    def test_a_clock_that_stands_still(self):
        self.set(time.strftime("%Y-%m-%d %H:%M:%S"))
        documents, took = self.burst(3.2)
        self.assertTrue(2 * int(took) - 1 <= len(documents) <= 2 * (int(took) + 2), len(documents))
        starts = {int(document["start_time"]) for document in documents}
        self.assertEqual(len(starts), 1, "the clock was told to stand")


if __name__ == "__main__":
    unittest.main()
