"""What the sidecar takes of the machine's memory before it has much to do."""

import mmap
import os
import re
import unittest
import urllib.request

import world

AT_REST = 8 * 1024  # KiB; what README promises, rounded up


def is_laid_out():
    """Whether the linker followed deploy/layout/order.ld, as it does in optimized builds."""
    with open(world.BINARY, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"\0.text.sidecar\0") >= 0


class Memory(unittest.TestCase):
    def test_little_is_taken_at_rest(self):
        if not is_laid_out():
            stop = self.fail if os.environ.get("REQUIRE_TOOLS") == "1" else self.skipTest
            stop("not an optimized build for Linux: its code is in no order")
        server = world.serve()
        sidecar = world.Sidecar("http://127.0.0.1:%d" % server.server_port, "--workers", "1")
        try:
            with urllib.request.urlopen(sidecar.url, timeout=world.DEADLINE) as answer:
                self.assertEqual(answer.read(), b"hello")
            with open(f"/proc/{sidecar.process.pid}/status", encoding="ascii") as status:
                resident = int(re.search(r"VmRSS:\s+(\d+) kB", status.read())[1])
        finally:
            sidecar.close()
            server.shutdown()
            server.server_close()
        self.assertLessEqual(resident, AT_REST, "KiB; if the code has grown, run deploy/layout/learn again")
        print(f"{resident} KiB at rest ", end="", flush=True)


if __name__ == "__main__":
    unittest.main()
