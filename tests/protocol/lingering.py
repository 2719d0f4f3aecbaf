# SPDX-License-Identifier: Apache-2.0
"""Files whose close() waits: whoever closes the last of them on its only thread serves nobody meanwhile."""

import contextlib
import os
import signal
import socket
import struct


class Lingering:
    """A TCP socket with unsent data, whose close() waits 30 seconds, or until this ends."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.socket = socket.create_connection(listener.getsockname())
            self.peer = listener.accept()[0]
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
        self.socket.setblocking(False)
        try:
            while True:
                self.socket.send(bytes(1 << 20))
        except BlockingIOError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.peer.close()
        self.socket.close()

    def give(self, device, send):
        """send(fd), after which only the device holds it."""
        with stopped(device):
            send(self.socket.fileno())
            self.socket.close()

    def in_a_queue(self):
        """Both ends of a pair of sockets; it lies unread at the second, and nowhere else."""
        ours, theirs = socket.socketpair()
        socket.send_fds(ours, [b"x"], [self.socket.fileno()])
        self.socket.close()
        return ours, theirs


@contextlib.contextmanager
def stopped(device):
    """What is sent and closed meanwhile the device receives after that, and so closes last."""
    device.process.send_signal(signal.SIGSTOP)
    try:
        os.waitid(os.P_PID, device.process.pid, os.WSTOPPED)
        yield
    finally:
        device.process.send_signal(signal.SIGCONT)
