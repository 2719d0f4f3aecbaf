// SPDX-License-Identifier: Apache-2.0
// A hostile vfio-user client with guest RAM of its own, on a session with a real device. The input
// is a list of steps (kinds below); record_vfio_user_seeds.py writes the seeds in the same form.
// Parsers: src/transports/vfio_user/session.cpp src/transports/vfio_user/interrupts.cpp
// src/transports/vfio_user/virtio_pci.cpp src/transports/vfio_user/pci_config.cpp
// src/transports/vfio_user/capabilities.cpp
#include <array>
#include <chrono>

#include "hostile_vmm.h"
#include "transports/vfio_user/protocol.h"
#include "transports/vfio_user/session.h"

namespace {

using namespace swede;
using namespace swede::vfio_user;
using fuzz::require;

struct World : fuzz::World {
    UniqueFd event = fuzz::event();
};

class Run : fuzz::Vmm {
  public:
    Run(World& world, std::span<const std::byte> input) : Vmm(world, input), world_(world) {}

    void run() {
        bool ended = false;
        auto session = Session::create(connect(main_), {.hostmem = fuzz::kHostmem}, world_.parts,
                                       [&] { ended = true; });
        require(session.has_value());
        play(*session, ended, [this] { step(); }, [this] { turn(); });
    }

  private:
    // Kinds of steps, the first byte of each, beside those of every door.
    static constexpr uint8_t kCommand = 'c';  ///< u8 fds, u16 command, u8 flags, u16 size, payload
    static constexpr uint8_t kBytes = 'b';    ///< u8 fds, u16 size, bytes: as they are

    void step() {
        const auto kind = take<uint8_t>();
        switch (kind) {
            case kCommand: {
                const auto fds = take<uint8_t>();
                Header header{};
                header.message_id = ++number_;
                header.command = take<uint16_t>();
                header.flags = static_cast<uint32_t>(take<uint8_t>());
                const auto payload = take_bytes();
                header.message_size = static_cast<uint32_t>(sizeof(header) + payload.size());
                send(message_of(header, payload), fds);
                break;
            }
            case kBytes: {
                const auto fds = take<uint8_t>();
                send(take_bytes(), fds);
                break;
            }
            default:
                common_step(kind);
        }
    }

    /// `fds`: how many in the low half, of which kind in the high half.
    void send(std::span<const std::byte> bytes, uint8_t fds) {
        const std::array<int, 3> kinds{world_.ram.get(), world_.event.get(), world_.other.get()};
        Vmm::send(bytes, kinds[(fds >> 4) % kinds.size()], fds);
    }

    /// One turn of the loop, and its replies: whole and of the right form.
    void turn() {
        loop_.run_once(std::chrono::milliseconds(0));
        main_.read();
        Header header;
        std::vector<std::byte> payload;
        while (main_.next(header, payload, payload_size_of)) {
            require((header.flags & kFlagTypeMask) == kFlagTypeReply);
            const bool failed = (header.flags & kFlagError) != 0;
            require(failed == (header.error != 0));
            require(!failed || payload.empty());
        }
    }
    static size_t payload_size_of(const Header& header) {
        require(header.message_size >= sizeof(header));
        const size_t size = header.message_size - sizeof(header);
        require(size <= sizeof(RegionAccess) + kMaxTransferSize);
        return size;
    }

    World& world_;
    uint16_t number_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    return fuzz::run_input<Run, World>(data, size);
}
