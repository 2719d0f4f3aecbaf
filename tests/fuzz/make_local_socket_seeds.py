# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of local_socket_fuzzer: what the protocol tests' program says, in its form.

    python3 make_local_socket_seeds.py [FOLDER]
"""

import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "protocol"))
# pylint: disable=wrong-import-position
from local_client import (BLOB_GUEST, BLOB_HOST3D_GUEST, CAPSET, CLOSE, CONTEXT_INIT, CONTEXT_INIT_BODY, CREATE_3D,
                          CREATE_BLOB, DELAY, ECHO, EXEC_FENCE, EXEC_RING, EXECBUFFER, EXPORT,
                          FAIL, FILL, HELLO, IMPORT, LOSE_CONTEXT, MAP, NEVER_ANSWER, REFUSE,
                          STALL_RING, TRANSFER_FROM_HOST, TRANSFER_TO_HOST, VERSION, WAIT, WAIT_NOT,
                          LocalClient, command)

# The kinds of files, as the fuzzer numbers them: none of ours, a growing file, the newest that a
# session gave, a socket whose other end is closed, the program's end of the connection, a socket whose
# other end is read when the program reads.
NULL, EVENT, FILE, SHARED, SOCKET, ITSELF, READ = range(7)


class Seed:
    """Steps of the two programs."""

    def __init__(self):
        self.data = b""
        self.numbers = [0, 0]

    def step(self, kind, program, rest=b""):
        self.data += kind + bytes([program]) + rest
        return self

    def ask(self, request, body=b"", program=0, fds=0, number=None):
        if number is None:
            self.numbers[program] += 1
            number = self.numbers[program]
        return self.step(b"m", program,
                         struct.pack("<BBBH", fds, request, number, len(body)) + body)

    def hello(self, program=0):
        return self.ask(HELLO, struct.pack("<II", VERSION, 0), program)

    def start(self, program=0, rings=8):
        self.hello(program)
        return self.ask(CONTEXT_INIT, LocalClient.context_body(CAPSET, rings, b"seed"), program)

    def resource(self, request, resource, flags=0, program=0):
        return self.ask(request, struct.pack("<II", resource, flags), program)

    def execute(self, commands=b"", resources=(), ring=None, fence=True, file=None, program=0, number=None):
        flags = (EXEC_FENCE if fence else 0) | (EXEC_RING if ring is not None else 0)
        return self.ask(EXECBUFFER,
                        LocalClient.execbuffer_body(commands, resources, flags, ring or 0),
                        program, 0 if file is None else file << 4 | 1, number)


def seeds():
    blob = LocalClient.blob_body
    three = LocalClient.body_3d
    context = LocalClient.context_body
    yield "hello", Seed().hello()
    yield "blob", (Seed().start().ask(CREATE_BLOB, blob(8192)).resource(MAP, 1)
                   .execute(command(FILL, 1, 7, 0, 16), [1]).resource(WAIT, 1)
                   .resource(WAIT, 1, WAIT_NOT).resource(CLOSE, 1))
    yield "guest_memory", (Seed().start().ask(CREATE_BLOB, blob(8192, BLOB_GUEST))
                           .execute(command(ECHO, 1, data=b"echo"), [1]).resource(MAP, 1)
                           .resource(EXPORT, 1).ask(IMPORT, fds=SHARED << 4 | 1)
                           .ask(CREATE_BLOB, blob(4096, BLOB_HOST3D_GUEST)).resource(CLOSE, 2)
                           .resource(CLOSE, 1))
    yield "blob_with_commands", (Seed().start().ask(CREATE_BLOB, blob(4096))
                                 .ask(CREATE_BLOB, blob(4096, commands=command(ECHO, 1, data=b"abcd")))
                                 .ask(CREATE_BLOB, blob(4096, flags=0)).resource(MAP, 3))
    yield "no_context_init", (Seed().hello().ask(CREATE_3D, three())
                              .ask(CONTEXT_INIT, bytes(CONTEXT_INIT_BODY.size)))
    yield "fences", (Seed().start().ask(CREATE_BLOB, blob(4096))
                     .execute(command(DELAY, value=1), [1, 1], 1, file=SOCKET)
                     .execute(command(STALL_RING), [1], 2, file=SOCKET).execute(b"", [1])
                     .resource(WAIT, 1).resource(WAIT, 1, WAIT_NOT).resource(WAIT, 1)
                     .execute(b"", (), 9).execute(b"", [9]).execute(b"", (), file=NULL))
    yield "fence_file_without_fence", Seed().start().execute(fence=False, file=SOCKET)
    yield "many_fences", _many_fences()
    yield "prime", (Seed().start().start(1).ask(CREATE_3D, three(64, 64)).resource(EXPORT, 1)
                    .ask(IMPORT, program=1, fds=SHARED << 4 | 1)
                    .ask(IMPORT, program=1, fds=SHARED << 4 | 1)
                    .resource(EXPORT, 1, program=1).ask(IMPORT, fds=SHARED << 4 | 1)
                    .resource(CLOSE, 1).step(b"x", 0).ask(IMPORT, program=1, fds=SHARED << 4 | 1)
                    .step(b"n", 0).resource(CLOSE, 1, program=1))
    yield "prime_foreign", _foreign_files()
    yield "transfers", (Seed().start().ask(CREATE_3D, three())
                        .ask(TRANSFER_TO_HOST, LocalClient.transfer_body(1))
                        .ask(TRANSFER_FROM_HOST, LocalClient.transfer_body(1))
                        .ask(TRANSFER_FROM_HOST, LocalClient.transfer_body(2))
                        .resource(MAP, 1).resource(CLOSE, 2))
    yield "failures", (Seed().start().execute(command(FAIL)).ask(CREATE_BLOB, blob(4096))
                       .ask(CREATE_BLOB, blob(8 << 20)).ask(CREATE_BLOB, blob(0))
                       .ask(CREATE_3D, three(width=0)).ask(CREATE_3D, three(65535, 65535))
                       .execute(command(REFUSE)).resource(MAP, 5))
    yield "never_answered", (Seed().start().execute(command(NEVER_ANSWER))
                             .ask(CREATE_BLOB, blob(4096)).resource(MAP, 1).step(b"x", 0)
                             .step(b"n", 0).start())
    yield "lost", (Seed().start().ask(CREATE_BLOB, blob(4096))
                   .execute(command(STALL_RING), [1], 1, file=SOCKET).resource(WAIT, 1)
                   .execute(command(LOSE_CONTEXT)).step(b"n", 0).start())
    yield "unread", _unread()
    yield "no_number", (Seed().start().ask(CREATE_BLOB, blob(4096)).ask(EXECBUFFER, bytes(16), number=0)
                        .ask(CLOSE, struct.pack("<II", 1, 0), number=0)
                        .ask(WAIT, bytes(8), number=0))
    yield "raw", Seed().step(b"b", 0, struct.pack("<BH", 0, 5) + b"\x01\0\0\0\x08").step(
        b"b", 0, struct.pack("<BH", 0, 19) + bytes(3) + struct.pack("<QII", 1, 1, 0)).step(b"h", 0)
    yield "limits", _limits()
    yield "exports", _exports()
    greeted = Seed().hello().data
    for name, seed in {
            "early": Seed().resource(MAP, 1),
            "second_hello": Seed().hello(),
            "unknown": Seed().ask(200), "short": Seed().ask(MAP, b"abc"),
            "long": Seed().ask(MAP, bytes(100)), "file": Seed().ask(MAP, bytes(8), fds=NULL << 4 | 1),
            "no_file": Seed().ask(IMPORT), "answer": Seed().ask(WAIT, bytes(8), number=0)}.items():
        seed.data = seed.data if name == "early" else greeted + seed.data
        yield f"broken_{name}", seed
    yield "more", (Seed().start().ask(CONTEXT_INIT, context(CAPSET, 8, b"seed"))
                   .ask(CREATE_BLOB, blob(0, BLOB_GUEST)).ask(CREATE_BLOB, blob(4096, flags=0))
                   .resource(MAP, 1).resource(CLOSE, 9).ask(CREATE_BLOB, blob(4096))
                   .resource(EXPORT, 2).ask(IMPORT, fds=SHARED << 4 | 1).resource(EXPORT, 2)
                   .execute(command(ECHO, 2, data=b"echo"), [2], 1, file=SOCKET)
                   .execute(command(STALL_RING), [2], 1).resource(WAIT, 2).resource(WAIT, 2, WAIT_NOT)
                   .execute(b"", [2], 1))
    yield "bad_context", (Seed().hello()
                          .ask(CONTEXT_INIT, context(29, 1, b""))
                          .ask(CONTEXT_INIT, context(CAPSET, 65, b""))
                          .ask(CONTEXT_INIT, context(CAPSET, 1, b"", 65))
                          .ask(CONTEXT_INIT, context(CAPSET, 1, b""))
                          .ask(CONTEXT_INIT, context(CAPSET, 1, b"")))
    yield "version", Seed().ask(HELLO, struct.pack("<II", VERSION + 1, 0))
    yield "polled", (_polled(READ).execute(b"", (), 1, fence=False, number=0)
                     .execute(command(STALL_RING), (), 2, fence=False, number=0)
                     .execute(command(REFUSE), (), 1, fence=False, number=0)
                     .execute(b"", (), 1, file=SOCKET).execute(b"", (), 3))
    yield "polled_by_a_closed_file", _polled(SOCKET).execute(b"", (), 1).execute(b"", (), 1)
    yield "polled_by_the_connection", _polled(ITSELF)
    yield "polled_by_no_socket", _polled(FILE)
    yield "polled_without_a_file", Seed().hello().ask(CONTEXT_INIT, context(rings=8, poll_rings=2))
    yield "polled_rings_that_are_none", Seed().hello().ask(CONTEXT_INIT, context(rings=2, poll_rings=4),
                                                           fds=READ << 4 | 1)
    yield "events_unread", _events_unread()
    yield "strange_flags", (Seed().start().ask(CREATE_BLOB, blob(4096))
                            .ask(EXECBUFFER, struct.pack("<IIII", 8, 0, 0, 0))
                            .ask(EXECBUFFER, struct.pack("<IIII", 0, 0, 5000, 0))
                            .ask(EXECBUFFER, struct.pack("<IIII", 0, 0, 2, 0) + b"abc")
                            .resource(WAIT, 1, 2).resource(WAIT, 7))


def _polled(file):
    """A context whose rings 1 and 2 are polled by this kind of file."""
    return Seed().hello().ask(CONTEXT_INIT, LocalClient.context_body(rings=8, poll_rings=6),
                              fds=file << 4 | 1)


def _events_unread():
    """More than the file has room for, and more than may be kept."""
    seed = _polled(READ).step(b"r", 0, b"\0")
    for _ in range(400):
        seed.execute(b"", (), 1, fence=False, number=0)
    return seed.step(b"r", 0, b"\1").execute(b"", (), 1)


def _many_fences():
    seed = Seed().start().ask(CREATE_BLOB, LocalClient.blob_body(4096))
    for _ in range(40):
        seed.execute(command(STALL_RING), [1], 1)
    for _ in range(12):
        seed.resource(WAIT, 1)
    return seed


def _foreign_files():
    seed = Seed().start().ask(CREATE_BLOB, LocalClient.blob_body(4096)).resource(EXPORT, 1)
    for kind in (NULL, EVENT, FILE, SOCKET, ITSELF):
        seed.ask(IMPORT, fds=kind << 4 | 1)
    seed.start(1).ask(IMPORT, program=1, fds=SHARED << 4 | 1)
    return seed.ask(IMPORT, fds=SHARED << 4 | 2)


def _unread():
    seed = Seed().start().ask(CREATE_BLOB, LocalClient.blob_body(4096)).step(b"r", 0, b"\0")
    for _ in range(60):
        seed.resource(MAP, 1)
    return seed.step(b"r", 0, b"\1").resource(MAP, 1)


def _limits():
    seed = Seed().start()
    for i in range(40):
        seed.ask(CREATE_BLOB, LocalClient.blob_body(4096, BLOB_GUEST if i % 2 else 2))
    for i in range(40):
        seed.resource(CLOSE, i)
    return seed


def _exports():
    """More than the device keeps; then some are orphans, and make room."""
    seed = Seed().start()
    for i in range(1, 11):
        seed.ask(CREATE_3D, LocalClient.body_3d(64, 64)).resource(EXPORT, i)
    for i in range(1, 5):
        seed.resource(CLOSE, i)
    for i in range(11, 15):
        seed.ask(CREATE_3D, LocalClient.body_3d(64, 64)).resource(EXPORT, i)
    return seed


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "corpus" / "local_socket"
    folder.mkdir(parents=True, exist_ok=True)
    for name, seed in seeds():
        (folder / name).write_bytes(seed.data)


if __name__ == "__main__":
    main()
