"""sslscan at the door: two versions of TLS, ciphers of our day, and none of the old holes."""

import re
import socket
import struct
import subprocess
import unittest
import xml.etree.ElementTree

import world

WANTED = {
    ("ssl", "2"): "0",
    ("ssl", "3"): "0",
    ("tls", "1.0"): "0",
    ("tls", "1.1"): "0",
    ("tls", "1.2"): "1",
    ("tls", "1.3"): "1",
}
# Keys of the connection's own, and a cipher that authenticates what it encrypts: no RSA key exchange, no anonymous one,
# no CBC, RC4, DES, 3DES, NULL or EXPORT.
GOOD_CIPHER = re.compile(
    r"TLS_(AES_\d+_GCM|CHACHA20_POLY1305)_SHA\d+|ECDHE-(ECDSA|RSA)-(AES\d+-GCM-SHA\d+|CHACHA20-POLY1305)")


def scan(address):
    """What sslscan finds out, as its XML."""
    done = subprocess.run(["sslscan", "--xml=-", address], check=True, capture_output=True, text=True, timeout=120)
    return xml.etree.ElementTree.fromstring(done.stdout.strip()).find("ssltest")


def complaints(found):
    """What is wrong with it."""
    wrong = []
    versions = {(one.get("type"), one.get("version")): one.get("enabled") for one in found.iter("protocol")}
    for one, enabled in WANTED.items():
        if versions.get(one) != enabled:
            wrong.append(f"{' '.join(one)}: {versions.get(one)}")
    ciphers = list(found.iter("cipher"))
    for version in ["TLSv1.2", "TLSv1.3"]:
        if not any(one.get("sslversion") == version for one in ciphers):
            wrong.append("no cipher of " + version)
    for one in ciphers:
        sound = one.get("strength") in ["acceptable", "strong"] and int(one.get("bits")) >= 128
        if not sound or not GOOD_CIPHER.fullmatch(one.get("cipher")):
            wrong.append(f"cipher {one.get('cipher')}: {one.get('strength')}, {one.get('bits')} bits")
    renegotiation = [(one.get("supported"), one.get("secure")) for one in found.iter("renegotiation")]
    if renegotiation != [("0", "0")]:
        wrong.append(f"renegotiation: {renegotiation}")
    heartbleed = {one.get("sslversion"): one.get("vulnerable") for one in found.iter("heartbleed")}
    if heartbleed != {"TLSv1.2": "0", "TLSv1.3": "0"}:
        wrong.append(f"heartbleed: {heartbleed}")
    return wrong


def first_record(address, compressions):
    """Says hello by TLS 1.2 with these compression methods, and gives the kind and the body of the record that answers.

    Debian's OpenSSL knows no compression, so that sslscan cannot ask for it.
    """
    extensions = b"".join(
        struct.pack("!HH", kind, len(body)) + body
        for kind, body in [
            (10, bytes.fromhex("0004 001d 0017")),  # groups: x25519, P-256
            (11, bytes.fromhex("01 00")),  # points: uncompressed
            (13, bytes.fromhex("0004 0403 0804")),  # signatures: ECDSA and RSA-PSS, with SHA-256
            (23, b""),  # the extended master secret
        ]
    )
    ciphers = bytes.fromhex("c02b c02c c02f c030")
    hello = bytes.fromhex("0303") + bytes(range(32)) + b"\0" + struct.pack("!H", len(ciphers)) + ciphers
    hello += bytes([len(compressions)]) + compressions + struct.pack("!H", len(extensions)) + extensions
    message = b"\x01" + struct.pack("!I", len(hello))[1:] + hello
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=world.DEADLINE) as stream:
        stream.sendall(bytes.fromhex("160301") + struct.pack("!H", len(message)) + message)
        reader = stream.makefile("rb")
        kind, _, length = struct.unpack("!BHH", reader.read(5))
        return kind, reader.read(length)


@world.needs_program("sslscan")
@world.needs_program("openssl")
class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = world.folder()
        cls.addClassCleanup(folder.cleanup)
        cls.certificates = world.Certificates(folder.name)
        path = cls.certificates.path
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=rsa", "-days", "2"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path("rsa.key"), "-out", path("rsa.pem")]
        subprocess.run(command, check=True, capture_output=True)

    def sidecar(self, name):
        path = self.certificates.path
        # Nothing is asked of the application: a scan ends with the handshake.
        sidecar = world.Sidecar(
            "http://127.0.0.1:9", "--sink", "none", "--tls-cert", path(name + ".pem"), "--tls-key", path(name + ".key"))
        self.addCleanup(sidecar.close)
        return sidecar.ports["listen"]

    def test_a_scan_finds_nothing_to_complain_of(self):
        for name, algorithm in [("server", "ECDSA"), ("rsa", "RSA")]:
            with self.subTest(key=algorithm):
                found = scan(self.sidecar(name))
                self.assertEqual(complaints(found), [])
                ciphers = [one.get("cipher") for one in found.iter("cipher") if one.get("sslversion") == "TLSv1.2"]
                self.assertTrue(all(f"-{algorithm}-" in one for one in ciphers), ciphers)

    def test_nothing_is_compressed(self):
        address = self.sidecar("server")
        kind, body = first_record(address, b"\x01\x00")
        self.assertEqual((kind, body[0]), (22, 2), "not a server's hello")
        session = body[4 + 2 + 32]
        self.assertEqual(body[4 + 2 + 32 + 1 + session + 2], 0, "a method of compression was chosen")
        kind, body = first_record(address, b"\x01")
        self.assertEqual((kind, body[0]), (21, 2), "not a fatal alert")

    def test_a_scan_would_find_what_is_wrong(self):
        path = self.certificates.path
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = "127.0.0.1:%d" % free.getsockname()[1]
        # As much of the past as OpenSSL still has.
        command = ["openssl", "s_server", "-quiet", "-accept", address, "-cert", path("rsa.pem")]
        command += ["-key", path("rsa.key"), "-no_tls1_3", "-legacy_renegotiation", "-cipher", "ALL:eNULL@SECLEVEL=0"]
        silence = subprocess.DEVNULL
        server = subprocess.Popen(command, stdin=silence, stdout=silence, stderr=silence)
        try:
            world.wait_for(lambda: listens(address), "openssl listens")
            wrong = complaints(scan(address))
        finally:
            server.kill()
            server.wait()
        told = "\n".join(wrong)
        ciphers = ["cipher AES128-SHA:", "cipher NULL-SHA256:"]
        for expected in ["tls 1.0: 1", "tls 1.1: 1", "tls 1.3: 0", "renegotiation", *ciphers]:
            self.assertIn(expected, told)


def listens(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


if __name__ == "__main__":
    unittest.main()
