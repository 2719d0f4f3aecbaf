// SPDX-License-Identifier: Apache-2.0
// A hostile vhost-user front end with guest RAM of its own, a back-end channel and a display
// socket, on a session with a real device. The input is a personality and a list of steps (kinds
// below); record_vhost_user_seeds.py writes the seeds in the same form. Parsers:
// src/transports/vhost_user/session.cpp src/transports/vhost_user/session_messages.cpp
// src/transports/vhost_user/memory_table.cpp src/transports/vhost_user/vrings.cpp
// src/transports/vhost_user/backend_channel.cpp src/transports/vhost_user/shmem_window.cpp
// src/display/qemu_socket_sink.cpp
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "base/mapping.h"
#include "display/qemu_socket_protocol.h"
#include "test_renderer.h"
#include "transports/vhost_user/protocol.h"
#include "transports/vhost_user/session.h"

namespace {

using namespace swede;
using namespace swede::vhost_user;

constexpr uint64_t kRamSize = 16 << 20;
constexpr uint64_t kFileSize = 64 << 10;  ///< of a region's file that may be truncated
constexpr uint64_t kHostmem = 1 << 20;
constexpr int kMaxSteps = 2000;
constexpr size_t kMaxReply = sizeof(Header) + sizeof(ShmemConfig);

/// The session breaks a promise: ends the run, as a sanitizer's report does.
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
    UniqueFd kick{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    UniqueFd other_kick{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    UniqueFd call{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    UniqueFd other{::open("/dev/null", O_RDWR | O_CLOEXEC)};
    UniqueFd file{::memfd_create("file", MFD_CLOEXEC)};

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

/// One socket of the front end: what came in, in whole messages, and the fds with each.
class Channel {
  public:
    void connect(UniqueFd fd) {
        fd_ = std::move(fd);
        bytes_.clear();
        fds_ = 0;
    }
    void close() { fd_.reset(); }
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] explicit operator bool() const { return bool(fd_); }

    void read() {
        std::array<std::byte, 65536> buffer;
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 64)> control;
        while (fd_) {
            iovec part{buffer.data(), buffer.size()};
            msghdr header{};
            header.msg_iov = &part;
            header.msg_iovlen = 1;
            header.msg_control = control.data();
            header.msg_controllen = control.size();
            const ssize_t size = ::recvmsg(fd_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
            if (size <= 0) break;
            for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
                int fd;
                require(c->cmsg_len == CMSG_LEN(sizeof(fd)));
                std::memcpy(&fd, CMSG_DATA(c), sizeof(fd));
                ::close(fd);
                ++fds_;
            }
            bytes_.insert(bytes_.end(), buffer.begin(), buffer.begin() + size);
        }
    }
    /// Header and payload of the next whole message; of the three protocols the header is alike.
    bool next(Header& header, std::vector<std::byte>& payload) {
        if (bytes_.size() < sizeof(header)) return false;
        std::memcpy(&header, bytes_.data(), sizeof(header));
        require(header.size <= display::QemuSocketSink::kStripBytes + 64);
        const size_t size = sizeof(header) + header.size;
        if (bytes_.size() < size) return false;
        payload.assign(bytes_.begin() + sizeof(header),
                       bytes_.begin() + static_cast<ptrdiff_t>(size));
        bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(size));
        return true;
    }
    [[nodiscard]] size_t take_fds() { return std::exchange(fds_, 0); }

  private:
    UniqueFd fd_;
    std::vector<std::byte> bytes_;
    size_t fds_ = 0;
};

class Run {
  public:
    Run(World& world, std::span<const std::byte> input) : world_(world), input_(input) {}

    void run() {
        // The guest starts with empty memory.
        require(::fallocate(world_.ram.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                            kRamSize) == 0);
        require(::ftruncate(world_.file.get(), kFileSize) == 0);
        const auto kind = take<uint8_t>();
        is_gpu_ = (kind & 1) != 0;
        if ((kind & 2) != 0)
            world_.options.renderers = [](EventLoop&, virtio::GuestMemory&,
                                          std::shared_ptr<rutabaga::CompletionSink> sink) {
                std::vector<std::unique_ptr<rutabaga::Renderer>> renderers;
                renderers.push_back(std::make_unique<test::TestRenderer>(
                    std::move(sink), test::TestRenderer::Faults::kNone));
                return Result<std::vector<std::unique_ptr<rutabaga::Renderer>>>(
                    std::move(renderers));
            };
        else
            world_.options.renderers = {};
        bool ended = false;
        auto session =
            Session::create(connect(main_),
                            {.personality = is_gpu_ ? Personality::kGpu : Personality::kGeneric,
                             .hostmem = kHostmem},
                            world_.parts, [&] { ended = true; });
        require(session.has_value());
        for (int i = 0; i < kMaxSteps && !ended && step(); ++i) turn();
        main_.close();
        for (int i = 0; i < 100 && !ended; ++i) turn();
        require(ended);  // a client that is gone is noticed
        session->reset();
        turn();  // what the device had posted
    }

  private:
    // Kinds of steps, the first byte of each.
    static constexpr uint8_t kMessage = 'm';  ///< u8 fds, u8 request, u8 flags, u16 size, payload
    static constexpr uint8_t kBytes = 'b';    ///< u8 fds, u16 size, bytes: as they are
    static constexpr uint8_t kPoke = 'p';     ///< u32 offset in RAM, u16 size, bytes
    static constexpr uint8_t kKick = 'k';
    static constexpr uint8_t kAnswer = 'a';    ///< u8 status: answers the back end's oldest request
    static constexpr uint8_t kBackend = 'r';   ///< u16 size, bytes: on the back-end channel
    static constexpr uint8_t kDisplay = 'g';   ///< u16 size, bytes: on the display socket
    static constexpr uint8_t kTruncate = 't';  ///< u16 size: of the file of kind 6
    static constexpr uint8_t kClose = 'x';     ///< u8: 0 back-end channel, 1 display socket
    static constexpr uint8_t kHangUp = 'h';    ///< shuts the sending side

    template <typename T>
    T take() {
        const auto value = input_.read<T>();
        return value ? *value : T{};
    }
    std::span<const std::byte> take_bytes() {
        const size_t size = std::min<size_t>(take<uint16_t>(), input_.remaining());
        return *input_.read_bytes(size);
    }
    /// Our end goes to `channel`, the other comes back.
    static UniqueFd connect(Channel& channel) {
        int ends[2];
        require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
        channel.connect(UniqueFd(ends[0]));
        return UniqueFd(ends[1]);
    }

    bool step() {
        if (input_.remaining() == 0) return false;
        switch (take<uint8_t>()) {
            case kMessage: {
                const auto fds = take<uint8_t>();
                Header header{};
                header.request = take<uint8_t>();
                header.flags = take<uint8_t>();
                const auto payload = take_bytes();
                header.size = static_cast<uint32_t>(payload.size());
                const auto head = bytes_of(header);
                std::vector<std::byte> message(head.begin(), head.end());
                message.insert(message.end(), payload.begin(), payload.end());
                send(message, fds, static_cast<Request>(header.request));
                ++sent_;
                break;
            }
            case kBytes: {
                const auto fds = take<uint8_t>();
                const auto bytes = take_bytes();
                send(bytes, fds, Request{});
                sent_ += 1 + bytes.size() / sizeof(Header);
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
            case kKick: {
                const uint64_t one = 1;
                (void)!::write(world_.kick.get(), &one, sizeof(one));
                (void)!::write(world_.other_kick.get(), &one, sizeof(one));
                break;
            }
            case kAnswer:
                answer(take<uint8_t>());
                break;
            case kBackend:
                raw(backend_, take_bytes());
                break;
            case kDisplay:
                raw(display_, take_bytes());
                break;
            case kTruncate:
                require(::ftruncate(world_.file.get(), take<uint16_t>()) == 0);
                break;
            case kClose:
                (take<uint8_t>() % 2 == 0 ? backend_ : display_).close();
                break;
            case kHangUp:
                ::shutdown(main_.fd(), SHUT_WR);
                break;
            default:
                break;
        }
        return true;
    }

    static void raw(Channel& channel, std::span<const std::byte> bytes) {
        if (channel && !bytes.empty())
            (void)!::send(channel.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    }

    void answer(uint8_t status) {
        if (asked_.empty() || !backend_) return;
        struct {
            Header header;
            uint32_t status[2];
        } reply{{asked_.front(), kVersion | kFlagReply, 8}, {status, 0}};
        asked_.pop_front();
        raw(backend_, bytes_of(reply));
    }

    /// `fds`: how many in the low half, of which kind in the high half.
    /// A socket that comes with another message than its own is any fd: a ring's call, say.
    void send(std::span<const std::byte> bytes, uint8_t fds, Request request) {
        if (bytes.empty()) return;
        UniqueFd fresh;
        int fd = world_.ram.get();
        switch (fds >> 4) {
            case 1:
                fd = world_.kick.get();
                break;
            case 2:
                fd = world_.call.get();
                break;
            case 3:
                fresh = connect(request == Request::kSetBackendReqFd ? backend_ : spare_);
                if (request == Request::kSetBackendReqFd) asked_.clear();
                fd = fresh.get();
                break;
            case 4:
                fresh = connect(request == Request::kGpuSetSocket ? display_ : spare_);
                if (request == Request::kGpuSetSocket) told_.clear();
                fd = fresh.get();
                break;
            case 5:
                fd = world_.other.get();
                break;
            case 6:
                fd = world_.file.get();
                break;
            case 7:
                fd = world_.other_kick.get();
                break;
            default:
                break;
        }
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
        (void)!::sendmsg(main_.fd(), &header, MSG_NOSIGNAL);
    }

    /// One turn of the loop, and all that it sent.
    void turn() {
        world_.loop->run_once(std::chrono::milliseconds(0));
        Header header;
        std::vector<std::byte> payload;
        main_.read();
        while (main_.next(header, payload)) {
            require(header.flags == (kVersion | kFlagReply));
            require(sizeof(header) + payload.size() <= kMaxReply);
            require(sent_ != 0);  // no more answers than questions
            --sent_;
        }
        require(main_.take_fds() == 0);
        backend_.read();
        size_t maps = 0;
        while (backend_.next(header, payload)) maps += check_backend(header, payload);
        require(backend_.take_fds() == maps);
        display_.read();
        while (display_.next(header, payload)) check_display(header, payload);
        require(display_.take_fds() == 0);
    }

    /// 1 for a message that carries an fd.
    size_t check_backend(const Header& header, std::span<const std::byte> payload) {
        require(!is_gpu_);
        const auto request = static_cast<BackendRequest>(header.request);
        if (request == BackendRequest::kConfigChange) {
            require(header.flags == kVersion && payload.empty());
            return 0;
        }
        require(request == BackendRequest::kShmemMap || request == BackendRequest::kShmemUnmap);
        require(header.flags == (kVersion | kFlagNeedReply) && payload.size() == sizeof(ShmemMap));
        ShmemMap map;
        std::memcpy(&map, payload.data(), sizeof(map));
        require(map.shmid == wire::kShmIdHostVisible && map.length != 0);
        require(range_fits(map.shm_offset, map.length, kHostmem));
        require(is_page_aligned(map.shm_offset) && is_page_aligned(map.length));
        asked_.push_back(header.request);
        require(asked_.size() <= 2 * ShmemWindow::kMaxMappings + 64);
        return request == BackendRequest::kShmemMap ? 1 : 0;
    }

    /// What QEMU would trip over.
    void check_display(const Header& header, std::span<const std::byte> payload) {
        using display::qemu_socket::Request;
        require(is_gpu_ && header.flags == 0);
        ByteReader reader(payload);
        switch (static_cast<Request>(header.request)) {
            case Request::kGetProtocolFeatures:
            case Request::kGetDisplayInfo:
                require(payload.empty());
                break;
            case Request::kSetProtocolFeatures:
                require(payload.size() == 8);
                break;
            case Request::kCursorPos:
            case Request::kCursorPosHide:
                require(payload.size() == 12);
                break;
            case Request::kCursorUpdate:
                require(payload.size() == 20 + 64 * 64 * 4);
                break;
            case Request::kScanout: {
                const auto scanout = reader.read<display::qemu_socket::Scanout>();
                require(scanout && reader.remaining() == 0 &&
                        scanout->scanout < wire::kMaxScanouts);
                require((scanout->width == 0) == (scanout->height == 0));
                require(std::max(scanout->width, scanout->height) <=
                        display::QemuSocketSink::kMaxSide);
                told_[scanout->scanout] = *scanout;
                break;
            }
            case Request::kUpdate: {
                const auto head = reader.read<display::qemu_socket::UpdateHead>();
                require(head && told_.contains(head->scanout));
                const auto& scanout = told_[head->scanout];
                require(rutabaga::rect_inside(head->rect, scanout.width, scanout.height));
                require(reader.remaining() == size_t{4} * head->rect.width * head->rect.height);
                break;
            }
            default:
                require(false);
        }
    }

    World& world_;
    ByteReader input_;
    bool is_gpu_ = false;
    Channel main_;
    Channel backend_;
    Channel display_;
    Channel spare_;               ///< of sockets that are not what their kind says; nobody reads it
    size_t sent_ = 0;             ///< messages that may still be answered
    std::deque<uint32_t> asked_;  ///< the back end's requests that wait for an answer
    std::map<uint32_t, display::qemu_socket::Scanout> told_;
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
