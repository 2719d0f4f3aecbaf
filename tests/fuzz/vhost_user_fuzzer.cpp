// SPDX-License-Identifier: Apache-2.0
// A hostile vhost-user front end with guest RAM of its own, a back-end channel and a display
// socket, on a session with a real device. The input is a personality and a list of steps (kinds
// below); record_vhost_user_seeds.py writes the seeds in the same form. Parsers:
// src/transports/vhost_user/session.cpp src/transports/vhost_user/session_messages.cpp
// src/transports/vhost_user/memory_table.cpp src/transports/vhost_user/vrings.cpp
// src/transports/vhost_user/backend_channel.cpp src/transports/vhost_user/shmem_window.cpp
// src/display/qemu_socket_sink.cpp
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>

#include "base/checked.h"
#include "display/qemu_socket_protocol.h"
#include "hostile_vmm.h"
#include "test_renderer.h"
#include "transports/vhost_user/protocol.h"
#include "transports/vhost_user/session.h"

namespace {

using namespace swede;
using namespace swede::vhost_user;
using fuzz::Channel;
using fuzz::require;

constexpr uint64_t kFileSize = 64 << 10;  ///< of a region's file that may be truncated
constexpr size_t kMaxReply = sizeof(Header) + sizeof(ShmemConfig);

struct World : fuzz::World {
    UniqueFd kick = fuzz::event();
    UniqueFd other_kick = fuzz::event();
    UniqueFd call = fuzz::event();
    UniqueFd file{::memfd_create("file", MFD_CLOEXEC)};
};

class Run : fuzz::Vmm {
  public:
    Run(World& world, std::span<const std::byte> input) : Vmm(world, input), world_(world) {}

    void run() {
        require(::ftruncate(world_.file.get(), kFileSize) == 0);
        const auto kind = take<uint8_t>();
        is_gpu_ = (kind & 1) != 0;
        if ((kind & 2) != 0)
            world_.options.renderers = [](const virtio_gpu::RendererSetting& setting) {
                const auto& sink = setting.sink;
                return test::only_test_renderer(sink, test::TestRenderer::Faults::kNone);
            };
        else
            world_.options.renderers = {};
        bool ended = false;
        auto session =
            Session::create(connect(main_),
                            {.personality = is_gpu_ ? Personality::kGpu : Personality::kGeneric,
                             .hostmem = fuzz::kHostmem},
                            world_.parts, [&] { ended = true; });
        require(session.has_value());
        play(*session, ended, [this] { step(); }, [this] { turn(); });
    }

  private:
    // Kinds of steps, the first byte of each, beside those of every door.
    static constexpr uint8_t kMessage = 'm';  ///< u8 fds, u8 request, u8 flags, u16 size, payload
    static constexpr uint8_t kBytes = 'b';    ///< u8 fds, u16 size, bytes: as they are
    static constexpr uint8_t kKick = 'k';
    static constexpr uint8_t kAnswer = 'a';    ///< u8 status: answers the back end's oldest request
    static constexpr uint8_t kBackend = 'r';   ///< u16 size, bytes: on the back-end channel
    static constexpr uint8_t kDisplay = 'g';   ///< u16 size, bytes: on the display socket
    static constexpr uint8_t kTruncate = 't';  ///< u16 size: of the file of kind 6
    static constexpr uint8_t kClose = 'x';     ///< u8: 0 back-end channel, 1 display socket

    void step() {
        const auto kind = take<uint8_t>();
        switch (kind) {
            case kMessage: {
                const auto fds = take<uint8_t>();
                Header header{};
                header.request = take<uint8_t>();
                header.flags = take<uint8_t>();
                const auto payload = take_bytes();
                header.size = static_cast<uint32_t>(payload.size());
                send(message_of(header, payload), fds, static_cast<Request>(header.request));
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
            default:
                common_step(kind);
        }
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
        Vmm::send(bytes, fd, fds);
    }

    /// One turn of the loop, and all that it sent.
    void turn() {
        loop_.run_once(std::chrono::milliseconds(0));
        Header header;
        std::vector<std::byte> payload;
        main_.read();
        while (main_.next(header, payload, payload_size_of)) {
            require(header.flags == (kVersion | kFlagReply));
            require(sizeof(header) + payload.size() <= kMaxReply);
            require(sent_ != 0);  // no more answers than questions
            --sent_;
        }
        require(main_.take_fds() == 0);
        backend_.read();
        size_t maps = 0;
        while (backend_.next(header, payload, payload_size_of))
            maps += check_backend(header, payload);
        require(backend_.take_fds() == maps);
        display_.read();
        while (display_.next(header, payload, payload_size_of)) check_display(header, payload);
        require(display_.take_fds() == 0);
    }

    /// Of the three protocols the header is alike.
    static size_t payload_size_of(const Header& header) {
        require(header.size <= display::QemuSocketSink::kStripBytes + 64);
        return header.size;
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
        require(range_fits(map.shm_offset, map.length, fuzz::kHostmem));
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
    bool is_gpu_ = false;
    Channel backend_;
    Channel display_;
    Channel spare_;               ///< of sockets that are not what their kind says; nobody reads it
    size_t sent_ = 0;             ///< messages that may still be answered
    std::deque<uint32_t> asked_;  ///< the back end's requests that wait for an answer
    std::map<uint32_t, display::qemu_socket::Scanout> told_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    return fuzz::run_input<Run, World>(data, size);
}
