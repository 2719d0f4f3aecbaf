# SPDX-License-Identifier: Apache-2.0
"""A compositor's socket of the test's own, which says and does what the test wants."""

import socket

PATIENCE_SECONDS = 60


class ScriptedCompositor:
    """Listens where the device looks for one."""

    def __init__(self, path):
        self.path = path
        self.connections = []
        self.listen()

    def listen(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.settimeout(PATIENCE_SECONDS)
        self.path.unlink(missing_ok=True)
        self.listener.bind(str(self.path))
        self.listener.listen()

    def accept(self):
        connection, _ = self.listener.accept()
        connection.settimeout(PATIENCE_SECONDS)
        self.connections.append(connection)
        return connection

    def stop(self):
        """As a crash does it."""
        for connection in self.connections:
            connection.close()
        self.connections = []
        self.listener.close()
        self.path.unlink(missing_ok=True)
