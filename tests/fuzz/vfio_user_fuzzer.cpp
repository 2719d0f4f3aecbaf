// SPDX-License-Identifier: Apache-2.0
// A hostile vfio-user client with guest RAM of its own, on a session with a real device. The input
// is a list of steps (kinds below); record_vfio_user_seeds.py writes the seeds in the same form.
// Parsers: src/transports/vfio_user/session.cpp src/transports/vfio_user/interrupts.cpp
// src/transports/vfio_user/virtio_pci.cpp src/transports/vfio_user/pci_config.cpp
// src/transports/vfio_user/capabilities.cpp
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "base/mapping.h"
#include "transports/vfio_user/protocol.h"
#include "transports/vfio_user/session.h"

namespace {

using namespace swede;
using namespace swede::vfio_user;

constexpr uint64_t kRamSize = 16 << 20;
constexpr uint64_t kHostmem = 1 << 20;
constexpr int kMaxSteps = 2000;

/// The input breaks a promise of the session: ends the run, as a sanitizer's report does.
void require(bool holds) {
    if (!holds) std::abort();
}

class NoSink final : public rutabaga::DisplaySink {
  public:
    void set_scanout(uint32_t, std::shared_ptr<const rutabaga::Frame>) override {}
    void flush(uint32_t, const rutabaga::Rect&) override {}
    void set_cursor(uint32_t, std::shared_ptr<const rutabaga::CursorImage>, int32_t,
                    int32_t) override {}
    void move_cursor(uint32_t, int32_t, int32_t) override {}
};

/// What outlives the inputs.
struct World {
    std::unique_ptr<EventLoop> loop = EventLoop::create().value();
    virtio_gpu::Options options;
    NoSink sink;
    virtio_gpu::DeviceParts parts{.loop = *loop, .options = options, .sink = sink};
    UniqueFd ram = create_memfd("ram", kRamSize).value();
    Mapping memory = Mapping::own_file(ram.get(), 0, kRamSize, Access::kReadWrite).value();
    UniqueFd event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    UniqueFd other{::open("/dev/null", O_RDWR | O_CLOEXEC)};

    World() {
        ::setenv("SWEDE_LOG", "off", 1);
        log::start();
        // Small budgets, so that an input meets them.
        options.limits[static_cast<size_t>(BudgetKind::kHostBytes)] = 4 << 20;
    }
};

/// The lowest number that a new fd would get: it rises when one is left open.
int lowest_free_fd() {
    const int fd = ::fcntl(0, F_DUPFD, 0);
    ::close(fd);
    return fd;
}

class Run {
  public:
    Run(World& world, std::span<const std::byte> input) : world_(world), input_(input) {}

    void run() {
        // The guest starts with empty memory.
        require(::fallocate(world_.ram.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                            kRamSize) == 0);
        int ends[2];
        require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
        peer_ = UniqueFd(ends[0]);
        bool ended = false;
        auto session = Session::create(UniqueFd(ends[1]), {.hostmem = kHostmem}, world_.parts,
                                       [&] { ended = true; });
        require(session.has_value());
        for (int i = 0; i < kMaxSteps && !ended && step(); ++i) turn();
        peer_.reset();
        for (int i = 0; i < 100 && !ended; ++i) turn();
        require(ended);  // a client that is gone is noticed
        session->reset();
    }

  private:
    // Kinds of steps, the first byte of each.
    static constexpr uint8_t kCommand = 'c';  ///< u8 fds, u16 command, u8 flags, u16 size, payload
    static constexpr uint8_t kBytes = 'b';    ///< u8 fds, u16 size, bytes: as they are
    static constexpr uint8_t kPoke = 'p';     ///< u32 offset in RAM, u16 size, bytes
    static constexpr uint8_t kHangUp = 'h';   ///< shuts the sending side

    template <typename T>
    T take() {
        const auto value = input_.read<T>();
        return value ? *value : T{};
    }
    std::span<const std::byte> take_bytes() {
        const size_t size = std::min<size_t>(take<uint16_t>(), input_.remaining());
        return *input_.read_bytes(size);
    }

    bool step() {
        if (input_.remaining() == 0) return false;
        switch (take<uint8_t>()) {
            case kCommand: {
                const auto fds = take<uint8_t>();
                Header header{};
                header.message_id = ++number_;
                header.command = take<uint16_t>();
                header.flags = static_cast<uint32_t>(take<uint8_t>());
                const auto payload = take_bytes();
                header.message_size = static_cast<uint32_t>(sizeof(header) + payload.size());
                const auto head = bytes_of(header);
                std::vector<std::byte> message(head.begin(), head.end());
                message.insert(message.end(), payload.begin(), payload.end());
                send(message, fds);
                break;
            }
            case kBytes: {
                const auto fds = take<uint8_t>();
                send(take_bytes(), fds);
                break;
            }
            case kPoke: {
                const uint64_t offset = take<uint32_t>() % kRamSize;
                auto bytes = take_bytes();
                bytes = bytes.first(std::min<uint64_t>(bytes.size(), kRamSize - offset));
                if (!bytes.empty())
                    std::memcpy(world_.memory.data() + offset, bytes.data(), bytes.size());
                break;
            }
            case kHangUp:
                ::shutdown(peer_.get(), SHUT_WR);
                break;
            default:
                break;
        }
        return true;
    }

    /// `fds`: how many in the low half, of which kind in the high half.
    void send(std::span<const std::byte> bytes, uint8_t fds) {
        if (bytes.empty()) return;
        const int fd = (fds >> 4) % 3 == 0   ? world_.ram.get()
                       : (fds >> 4) % 3 == 1 ? world_.event.get()
                                             : world_.other.get();
        std::array<int, 15> copies;
        copies.fill(fd);
        const size_t size = sizeof(int) * (fds & 15);
        iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(copies))> control{};
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        if (size != 0) {
            header.msg_control = control.data();
            header.msg_controllen = CMSG_SPACE(size);
            cmsghdr* const c = CMSG_FIRSTHDR(&header);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(size);
            std::memcpy(CMSG_DATA(c), copies.data(), size);
        }
        (void)!::sendmsg(peer_.get(), &header, MSG_NOSIGNAL);
    }

    /// One turn of the loop, and its replies: whole, of the right form, at most one fd in each.
    void turn() {
        world_.loop->run_once(std::chrono::milliseconds(0));
        if (!peer_) return;
        std::array<std::byte, 65536> buffer;
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 64)> control;
        for (;;) {
            iovec part{buffer.data(), buffer.size()};
            msghdr header{};
            header.msg_iov = &part;
            header.msg_iovlen = 1;
            header.msg_control = control.data();
            header.msg_controllen = control.size();
            const ssize_t size = ::recvmsg(peer_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
            if (size <= 0) break;
            for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
                int fd;
                require(c->cmsg_len == CMSG_LEN(sizeof(fd)));
                std::memcpy(&fd, CMSG_DATA(c), sizeof(fd));
                ::close(fd);
            }
            replies_.insert(replies_.end(), buffer.begin(), buffer.begin() + size);
        }
        while (replies_.size() >= sizeof(Header)) {
            Header header;
            std::memcpy(&header, replies_.data(), sizeof(header));
            require(header.message_size >= sizeof(Header));
            require(header.message_size <=
                    sizeof(Header) + sizeof(RegionAccess) + kMaxTransferSize);
            require((header.flags & kFlagTypeMask) == kFlagTypeReply);
            const bool failed = (header.flags & kFlagError) != 0;
            require(failed == (header.error != 0));
            require(!failed || header.message_size == sizeof(Header));
            if (replies_.size() < header.message_size) break;
            replies_.erase(replies_.begin(), replies_.begin() + header.message_size);
        }
    }

    World& world_;
    ByteReader input_;
    UniqueFd peer_;
    uint16_t number_ = 0;
    std::vector<std::byte> replies_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static World world;
    [[maybe_unused]] static const bool warm = [] {
        Run(world, {}).run();  // what is opened once is open from now on
        return true;
    }();
    const int free_fd = lowest_free_fd();
    Run(world, std::as_bytes(std::span(data, size))).run();
    require(lowest_free_fd() == free_fd);
    return 0;
}
