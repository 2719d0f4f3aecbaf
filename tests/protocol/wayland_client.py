# SPDX-License-Identifier: Apache-2.0
"""As much of a Wayland client as the tests need, over any connection that has send(bytes, files) and
receive() -> (bytes, files) or None at the end. Files are whatever the connection has for them."""

import struct

# (interface, request): opcode, and the form of its arguments: u a number, n a new id, s a string, f a file.
REQUESTS = {
    ("wl_display", "sync"): (0, "n"), ("wl_display", "get_registry"): (1, "n"),
    ("wl_registry", "bind"): (0, "usun"),
    ("wl_compositor", "create_surface"): (0, "n"),
    ("wl_shm", "create_pool"): (0, "nfu"),
    ("wl_shm_pool", "create_buffer"): (0, "nuuuuu"),
    ("wl_surface", "attach"): (1, "uuu"), ("wl_surface", "damage"): (2, "uuuu"),
    ("wl_surface", "frame"): (3, "n"), ("wl_surface", "commit"): (6, ""),
    ("wl_seat", "get_keyboard"): (1, "n"),
    ("xdg_wm_base", "get_xdg_surface"): (2, "nu"), ("xdg_wm_base", "pong"): (3, "u"),
    ("xdg_surface", "get_toplevel"): (1, "n"), ("xdg_surface", "ack_configure"): (4, "u"),
    ("xdg_toplevel", "set_app_id"): (3, "s"),
    ("wl_data_device_manager", "create_data_source"): (0, "n"),
    ("wl_data_device_manager", "get_data_device"): (1, "nu"),
    ("wl_data_device", "set_selection"): (1, "uu"),
    ("wl_data_source", "offer"): (0, "s"),
    ("wl_data_offer", "receive"): (1, "sf"),
    ("zwlr_data_control_manager_v1", "create_data_source"): (0, "n"),
    ("zwlr_data_control_manager_v1", "get_data_device"): (1, "nu"),
    ("zwlr_data_control_device_v1", "set_selection"): (0, "u"),
    ("zwlr_data_control_source_v1", "offer"): (0, "s"),
    ("zwlr_data_control_offer_v1", "receive"): (0, "sf"),
    ("zwp_virtual_keyboard_manager_v1", "create_virtual_keyboard"): (0, "un"),
    ("zwp_virtual_keyboard_v1", "keymap"): (0, "ufu"),
}
# interface: the events in the order of their opcodes.
EVENTS = {
    "wl_display": (("error", "uus"), ("delete_id", "u")),
    "wl_registry": (("global", "usu"), ("global_remove", "u")),
    "wl_callback": (("done", "u"),),
    "wl_shm": (("format", "u"),),
    "wl_buffer": (("release", ""),),
    "wl_surface": (("enter", "u"), ("leave", "u")),
    "wl_seat": (("capabilities", "u"), ("name", "s")),
    "wl_keyboard": (("keymap", "ufu"), ("enter", "uua"), ("leave", "uu"), ("key", "uuuu"),
                    ("modifiers", "uuuuu"), ("repeat_info", "uu")),
    "xdg_wm_base": (("ping", "u"),),
    "xdg_surface": (("configure", "u"),),
    "xdg_toplevel": (("configure", "uua"), ("close", "")),
    "wl_data_device": (("data_offer", "N"), ("enter", "uuuuu"), ("leave", ""), ("motion", "uuu"), ("drop", ""),
                       ("selection", "u")),
    "wl_data_source": (("target", "s"), ("send", "sf"), ("cancelled", ""), ("dnd_drop_performed", ""),
                       ("dnd_finished", ""), ("action", "u")),
    "wl_data_offer": (("offer", "s"), ("source_actions", "u"), ("action", "u")),
    "zwlr_data_control_device_v1": (("data_offer", "N"), ("selection", "u"), ("finished", ""),
                                    ("primary_selection", "u")),
    "zwlr_data_control_source_v1": (("send", "sf"), ("cancelled", "")),
    "zwlr_data_control_offer_v1": (("offer", "s"),),
}
# Of whose events objects are made by the compositor, and what these are.
OFFERS = {"wl_data_device": "wl_data_offer", "zwlr_data_control_device_v1": "zwlr_data_control_offer_v1"}


class Closed(Exception):
    """The end of the stream."""


class WaylandClient:
    """Objects are numbers; `interfaces` says what each is."""

    def __init__(self, connection):
        self.connection = connection
        self.interfaces = {1: "wl_display"}
        self.next_id = 2
        self.data = b""
        self.files = []
        self.globals = {}  # interface: (name, version)
        self.events = []   # (object, event, arguments) not yet asked for

    def request(self, target, name, *arguments):
        """Sends a request; the id of the object that it makes, if it makes one."""
        opcode, form = REQUESTS[self.interfaces[target], name]
        body, files, made = b"", [], None
        arguments = list(arguments)
        for kind in form:
            if kind == "n":
                made = self.next_id
                self.next_id += 1
                self.interfaces[made] = arguments.pop(0)
                body += struct.pack("<I", made)
            elif kind == "s":
                text = arguments.pop(0).encode() + b"\0"
                body += struct.pack("<I", len(text)) + text + bytes(-len(text) % 4)
            elif kind == "f":
                files.append(arguments.pop(0))
            else:
                body += struct.pack("<I", arguments.pop(0) & 0xffffffff)
        assert not arguments
        self.connection.send(struct.pack("<II", target, (8 + len(body)) << 16 | opcode) + body, files)
        return made

    def bind(self, interface, version=1):
        name, offered = self.globals[interface]
        assert offered >= version, f"{interface} is offered in version {offered}"
        made = self.next_id
        self.request(self.registry, "bind", name, interface, version, interface)
        return made

    # --- events ---

    def _read(self):
        received = self.connection.receive()
        if received is None:
            raise Closed
        data, files = received
        self.data += data
        self.files += files
        while len(self.data) >= 8:
            target, word = struct.unpack_from("<II", self.data)
            size, opcode = word >> 16, word & 0xffff
            if len(self.data) < size:
                break
            self._event(target, opcode, self.data[8:size])
            self.data = self.data[size:]

    def _event(self, target, opcode, body):
        name, form = EVENTS[self.interfaces[target]][opcode]
        arguments, at = [], 0
        for kind in form:
            if kind == "f":
                arguments.append(self.files.pop(0))
                continue
            word, = struct.unpack_from("<I", body, at)
            at += 4
            if kind in "sa":
                content = body[at:at + word]
                at += word + -word % 4
                arguments.append(content[:-1].decode() if kind == "s" else content)
                continue
            if kind == "N":
                self.interfaces[word] = OFFERS[self.interfaces[target]]
            arguments.append(word)
        if name == "ping":
            self.request(target, "pong", arguments[0])
        elif name == "global":
            self.globals[arguments[1]] = (arguments[0], arguments[2])
        elif (target, name) == (1, "error"):
            raise AssertionError(f"the compositor says: {arguments[2]}")
        else:
            self.events.append((target, name, arguments))

    def take(self, target, name):
        """The arguments of each such event that came."""
        taken = [arguments for source, event, arguments in self.events if (source, event) == (target, name)]
        self.events = [entry for entry in self.events if entry[:2] != (target, name)]
        return taken

    def wait_for(self, target, name):
        """The arguments of the oldest such event; `target` None: of any object."""
        while True:
            for i, (source, event, arguments) in enumerate(self.events):
                if event == name and target in (None, source):
                    del self.events[i]
                    return arguments
            self._read()

    def round_trip(self):
        self.wait_for(self.request(1, "sync", "wl_callback"), "done")

    def start(self):
        """Asks what there is."""
        self.registry = self.request(1, "get_registry", "wl_registry")
        self.round_trip()
        return self
