"""PyPI's `websockets` as client and server, with the sidecar between them."""

import asyncio
import logging
import os
import ssl
import time
import unittest

import websockets
import world
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

MEGABYTE = 1 << 20
SECONDS = 20

# asyncio remarks on each megabyte that takes long to mask.
logging.getLogger("asyncio").setLevel(logging.ERROR)


async def application(socket):
    """What it does is in the path."""
    path = socket.request.path
    if path == "/push":
        for n in range(100):
            await socket.send(str(n))
    elif path.startswith("/close/"):
        await socket.close(int(path.split("/")[2]), "the server's reason")
    elif path == "/break":
        socket.transport.abort()
    elif path == "/ping":
        await (await socket.ping(b"from the server"))
        await socket.send("ponged")
    elif path == "/told":
        try:
            await socket.recv()
        except websockets.ConnectionClosed:
            application.told.set_result((socket.close_code, socket.close_reason))
    else:
        async for message in socket:
            await socket.send(message)


class Between:
    """A server, a sidecar before it, and how to connect; whether with TLS is a matter of those that are at the end."""

    secure = False

    async def asyncSetUp(self):
        self.server = await serve(
            application, "127.0.0.1", 0, max_size=4 * MEGABYTE, ping_interval=None,
            select_subprotocol=lambda _, offered: offered[0] if offered else None,
        )
        port = self.server.sockets[0].getsockname()[1]
        self.sink = world.Sink()
        settings = []
        if self.secure:
            self.certificates = world.Certificates(self.enterContext(world.folder()))
            settings = self.certificates.of_sidecar()
        arguments = [f"http://127.0.0.1:{port}", "--service-name", "front", "--sink", "udp://" + self.sink.address]
        # What waits for it must not stop the server, which is in this thread's loop.
        self.sidecar = await asyncio.to_thread(world.Sidecar, *arguments, *settings, rules=world.KEEP_ALL)

    async def asyncTearDown(self):
        await self.settled()
        await asyncio.to_thread(self.sidecar.close)
        self.server.close()
        await self.server.wait_closed()
        self.sink.close()

    async def settled(self):
        """No tunnel is left."""
        await asyncio.to_thread(world.wait_for, lambda: self.sums("collimator_tunnels") == 0, "the tunnels are over")

    def sums(self, name, **labels):
        return self.sidecar.sums(name, **labels)

    def connect(self, path="/", **options):
        url = ("wss://" if self.secure else "ws://") + self.sidecar.ports["listen"] + path
        if self.secure:
            options["ssl"] = ssl.create_default_context(cafile=self.certificates.path("ca.pem"))
        limits = {"max_size": 4 * MEGABYTE, "open_timeout": SECONDS, "close_timeout": SECONDS}
        return connect(url, ping_interval=None, **limits, **options)

    async def echo(self, socket, *messages):
        for message in messages:
            await socket.send(message)
            async with asyncio.timeout(SECONDS):
                self.assertEqual(await socket.recv(), message)


class WebSockets(Between, unittest.IsolatedAsyncioTestCase):
    async def test_messages(self):
        async with self.connect(subprotocols=["chat"]) as socket:
            self.assertEqual(socket.subprotocol, "chat")
            self.assertEqual(await asyncio.to_thread(self.sums, "collimator_tunnels"), 1)
            await self.echo(socket, "text", "", "é\u2603\U0001f600", b"", bytes(range(256)))
            await self.echo(socket, os.urandom(MEGABYTE), "x" * MEGABYTE)
        await self.settled()
        for direction in ["to_application", "to_client"]:
            carried = await asyncio.to_thread(self.sums, "collimator_tunnel_bytes_total", direction=direction)
            self.assertGreater(carried, 1 * MEGABYTE)
        # The segment ended with the handshake.
        document = self.sink.all()[0]
        self.assertEqual(document["http"]["response"]["status"], 101)
        self.assertLess(document["end_time"] - document["start_time"], 1)

    async def test_messages_in_pieces(self):
        async with self.connect() as socket:
            pieces = [os.urandom(1000) for _ in range(100)]
            await socket.send(pieces)
            self.assertEqual(await socket.recv(), b"".join(pieces))

    async def test_many_messages_on_the_way(self):
        """More than fits into any buffer, while nothing is read."""
        async with self.connect() as socket:
            message, begun, stuck = os.urandom(MEGABYTE), [time.monotonic()], asyncio.Event()

            async def send():
                while not stuck.is_set():
                    await socket.send(message)
                    begun.append(time.monotonic())

            async with asyncio.timeout(2 * SECONDS):
                sending = asyncio.create_task(send())
                # The server does not read on before its answers are read.
                while time.monotonic() - begun[-1] < 0.5:
                    await asyncio.sleep(0.05)
                stuck.set()
                for _ in range(len(begun)):
                    self.assertEqual(await socket.recv(), message)
                await sending

    async def test_pings(self):
        async with self.connect() as socket:
            async with asyncio.timeout(SECONDS):
                await (await socket.ping(b"from the client"))
        async with self.connect("/ping") as socket:
            async with asyncio.timeout(SECONDS):
                self.assertEqual(await socket.recv(), "ponged")

    async def test_a_server_that_only_talks(self):
        async with self.connect("/push") as socket:
            async with asyncio.timeout(SECONDS):
                self.assertEqual([message async for message in socket], [str(n) for n in range(100)])

    async def test_a_server_that_closes_first(self):
        for code in [1000, 1001, 1011, 4321]:
            with self.subTest(code=code):
                async with self.connect(f"/close/{code}") as socket:
                    with self.assertRaises(websockets.ConnectionClosed):
                        await socket.recv()
                    self.assertEqual((socket.close_code, socket.close_reason), (code, "the server's reason"))

    async def test_a_client_that_closes_first(self):
        for code in [1000, 1001, 3210]:
            with self.subTest(code=code):
                application.told = asyncio.get_running_loop().create_future()
                async with self.connect("/told") as socket:
                    await socket.close(code, "the client's reason")
                async with asyncio.timeout(SECONDS):
                    self.assertEqual(await application.told, (code, "the client's reason"))

    async def test_a_server_that_breaks_off(self):
        async with self.connect("/break") as socket:
            with self.assertRaises(websockets.ConnectionClosedError):
                await socket.recv()
            self.assertEqual(socket.close_code, 1006)

    async def test_a_client_that_breaks_off(self):
        application.told = asyncio.get_running_loop().create_future()
        async with self.connect("/told") as socket:
            socket.transport.abort()
        async with asyncio.timeout(SECONDS):
            self.assertEqual((await application.told)[0], 1006)

    async def test_fifty_at_once(self):
        sockets = await asyncio.gather(*(self.connect(f"/{n}") for n in range(50)))
        self.assertEqual(await asyncio.to_thread(self.sums, "collimator_tunnels"), 50)
        await asyncio.gather(*(self.echo(socket, str(n), bytes([n]) * 10_000) for n, socket in enumerate(sockets)))
        await asyncio.gather(*(socket.close() for socket in sockets))
        await self.settled()

    async def test_an_upgrade_that_the_application_refuses(self):
        with self.assertRaises(websockets.InvalidStatus) as raised:
            # A version of the protocol that there is not.
            async with self.connect(additional_headers={"Sec-WebSocket-Version": "7"}):
                pass
        self.assertIn(raised.exception.response.status_code, [400, 426])


@world.needs_program("openssl")
class SecureWebSockets(Between, unittest.IsolatedAsyncioTestCase):
    secure = True

    async def test_messages(self):
        async with self.connect() as socket:
            await self.echo(socket, "text", os.urandom(MEGABYTE), "x" * MEGABYTE)

    async def test_a_server_that_closes_first(self):
        async with self.connect("/close/4321") as socket:
            with self.assertRaises(websockets.ConnectionClosed):
                await socket.recv()
            self.assertEqual((socket.close_code, socket.close_reason), (4321, "the server's reason"))


if __name__ == "__main__":
    unittest.main()
