// SPDX-License-Identifier: Apache-2.0
// Two hostile programs on two sessions of the local socket, with the test renderer behind them and
// files to send: each other's, their own, and none that belong there. The input is a list of steps
// (kinds below); make_local_socket_seeds.py writes the seeds in the same form. Parsers:
// src/transports/local_socket/session.cpp src/transports/local_socket/session_requests.cpp
// src/transports/local_socket/fence_book.cpp src/transports/local_socket/minted_files.cpp
// src/transports/local_socket/event_file.cpp
#include <fcntl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/file_closer.h"
#include "base/log.h"
#include "base/mapping.h"
#include "require.h"
#include "small_limits.h"
#include "test_renderer.h"
#include "transports/local_socket/session.h"
#include "wire/local_socket.h"

namespace {

using namespace swede;
using namespace swede::local_socket;
using namespace swede::wire::local;
using fuzz::require;

constexpr int kMaxSteps = 2000;
constexpr int kMaxTurns = 200;  ///< until a program that is gone is noticed
constexpr int kQuietTurns = 10;
constexpr size_t kPrograms = 2;
constexpr size_t kMaxFds = 15;
constexpr size_t kMaxMinted = 4;  ///< of each program

/// What outlives the inputs.
struct World {
    std::unique_ptr<EventLoop> loop = EventLoop::create().value();
    Options options;
    std::vector<rutabaga::Capset> capsets{{SWEDE_TEST_CAPSET_ID, 1, std::vector<std::byte>(16)}};
    UniqueFd event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    UniqueFd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
    UniqueFd file{::memfd_create("file", MFD_CLOEXEC | MFD_ALLOW_SEALING)};

    World() {
        ::setenv("SWEDE_LOG", "off", 1);
        log::start();
        options.limits = fuzz::limits_with({{BudgetKind::kHostBytes, 4 << 20},
                                            {BudgetKind::kResources, 32},
                                            {BudgetKind::kPendingFences, 32},
                                            {BudgetKind::kPendingCommands, 8}});
        options.renderers = [](const virtio_gpu::RendererSetting& setting) {
            const auto& sink = setting.sink;
            std::vector<std::unique_ptr<rutabaga::Renderer>> renderers;
            renderers.push_back(
                std::make_unique<test::TestRenderer>(sink, test::TestRenderer::Faults::kNone));
            return Result<std::vector<std::unique_ptr<rutabaga::Renderer>>>(std::move(renderers));
        };
    }
};

/// The lowest number that a new fd would get: it rises when one is left open.
int lowest_free_fd() {
    while (files_to_close() != 0) ::sched_yield();
    const int fd = ::fcntl(0, F_DUPFD, 0);
    ::close(fd);
    return fd;
}

/// One program: its end of the socket, and what it may expect.
struct Program {
    UniqueFd socket;
    std::unique_ptr<Session> session;
    bool ended = false;
    bool reads = true;
    bool lost = false;
    std::vector<std::byte> bytes;           ///< received, and not whole yet
    std::vector<UniqueFd> files;            ///< received with them
    std::vector<UniqueFd> events;           ///< other ends of files for events
    std::map<uint64_t, uint32_t> expected;  ///< request numbers that may be answered; their types
    bool numbers_known = true;              ///< false once bytes were sent that we did not make
};

class Run {
  public:
    Run(World& world, std::span<const std::byte> input) : world_(world), input_(input) {}

    void run() {
        require(::ftruncate(world_.file.get(), 65536) == 0);
        for (size_t i = 0; i < kPrograms; ++i) begin(i);
        for (int i = 0; i < kMaxSteps && step(); ++i) turn();
        hear_the_rest();
        for (Program& program : programs_) program.socket.reset();
        for (int i = 0; i < kMaxTurns && !std::ranges::all_of(programs_, &Program::ended); ++i)
            turn();
        for (Program& program : programs_) {
            // A program that is gone is noticed, by its process at the latest; here that lives on.
            require(program.ended || sent_own_socket_);
            program.session.reset();
        }
        shared_.reset();
        turn();  // what was posted
    }

  private:
    // Kinds of steps, the first byte of each; the second is the program's number.
    static constexpr uint8_t kMessage = 'm';  ///< u8 fds, u8 type, u8 number, u16 size, payload
    static constexpr uint8_t kBytes = 'b';    ///< u8 fds, u16 size, bytes: as they are
    static constexpr uint8_t kHangUp = 'h';   ///< shuts the sending side
    static constexpr uint8_t kClose = 'x';
    static constexpr uint8_t kReads = 'r';     ///< u8: whether it reads from now on
    static constexpr uint8_t kTruncate = 't';  ///< u16 size: of the file of kind 2
    static constexpr uint8_t kFresh = 'n';     ///< a new connection, if the old one has ended

    template <typename T>
    T take() {
        const auto value = input_.read<T>();
        return value ? *value : T{};
    }
    std::span<const std::byte> take_bytes() {
        const size_t size = std::min<size_t>(take<uint16_t>(), input_.remaining());
        return *input_.read_bytes(size);
    }

    void begin(size_t index) {
        int ends[2];
        require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
        Program& program = programs_[index];
        program = {};
        program.socket.reset(ends[0]);
        auto session = Session::create(
            {*world_.loop, world_.options, world_.options.limits, world_.capsets, minted_},
            next_id_++, UniqueFd(ends[1]), [&program] { program.ended = true; });
        require(session.has_value());
        program.session = *std::move(session);
    }

    bool step() {
        if (input_.remaining() == 0) return false;
        const auto kind = take<uint8_t>();
        const size_t index = take<uint8_t>() % kPrograms;
        Program& program = programs_[index];
        switch (kind) {
            case kMessage: {
                const auto fds = take<uint8_t>();
                Header header{};
                header.type = take<uint8_t>();
                header.request = take<uint8_t>();
                const auto payload = take_bytes();
                header.size = static_cast<uint32_t>(payload.size());
                const auto head = bytes_of(header);
                std::vector<std::byte> message(head.begin(), head.end());
                message.insert(message.end(), payload.begin(), payload.end());
                if (header.request != 0 && !program.expected.contains(header.request))
                    program.expected.emplace(header.request, header.type);
                else if (header.request != 0)
                    program.numbers_known = false;
                send(program, message, fds);
                break;
            }
            case kBytes: {
                const auto fds = take<uint8_t>();
                program.numbers_known = false;
                send(program, take_bytes(), fds);
                break;
            }
            case kHangUp:
                ::shutdown(program.socket.get(), SHUT_WR);
                break;
            case kClose:
                program.socket.reset();
                break;
            case kReads:
                program.reads = take<uint8_t>() != 0;
                break;
            case kTruncate:
                // Fails once the input has had it sealed; that is nothing new.
                (void)!::ftruncate(world_.file.get(), take<uint16_t>());
                break;
            case kFresh:
                if (program.ended) begin(index);
                break;
            default:
                break;
        }
        return true;
    }

    /// `fds`: how many in the low half, of which kind in the high half.
    void send(Program& program, std::span<const std::byte> bytes, uint8_t fds) {
        if (bytes.empty() || !program.socket) return;
        UniqueFd fresh;
        int fd = world_.null.get();
        switch (fds >> 4) {
            case 1:
                fd = world_.event.get();
                break;
            case 2:
                fd = world_.file.get();
                break;
            case 3:  // the newest file that a session gave away
                if (shared_) fd = shared_->get();
                break;
            case 4: {
                int ends[2];
                require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
                ::close(ends[0]);
                fresh.reset(ends[1]);
                fd = fresh.get();
                break;
            }
            case 5:
                fd = program.socket.get();
                sent_own_socket_ = true;
                break;
            case 6: {
                int ends[2];
                require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
                program.events.emplace_back(ends[0]);
                fresh.reset(ends[1]);
                fd = fresh.get();
                break;
            }
            default:
                break;
        }
        std::array<int, kMaxFds> copies;
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
        (void)!::sendmsg(program.socket.get(), &header, MSG_NOSIGNAL);
    }

    /// A request takes some turns. What was sent is heard, but for what waits for ever.
    void hear_the_rest() {
        int left = unheard();
        for (int quiet = 0; left != 0 && quiet < kQuietTurns;) {
            turn();
            const int now = unheard();
            quiet = now == left ? quiet + 1 : 0;
            left = now;
        }
    }
    /// Bytes that were sent and are not read yet.
    [[nodiscard]] int unheard() const {
        int sum = 0;
        for (const Program& program : programs_) {
            int bytes = 0;
            if (program.socket && !program.ended &&
                ::ioctl(program.socket.get(), SIOCOUTQ, &bytes) == 0)
                sum += bytes;
        }
        return sum;
    }

    /// One turn of the loop, and all that came of it.
    void turn() {
        world_.loop->run_once(std::chrono::milliseconds(0));
        for (Program& program : programs_)
            if (program.reads && program.socket) {
                read(program);
                check(program);
                read_events(program);
            }
    }

    static void read(Program& program) {
        std::array<std::byte, 65536> buffer;
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 64)> control;
        for (;;) {
            iovec part{buffer.data(), buffer.size()};
            msghdr header{};
            header.msg_iov = &part;
            header.msg_iovlen = 1;
            header.msg_control = control.data();
            header.msg_controllen = control.size();
            const ssize_t size =
                ::recvmsg(program.socket.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
            if (size <= 0) break;
            for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
                int fd;
                require(c->cmsg_len == CMSG_LEN(sizeof(fd)));
                std::memcpy(&fd, CMSG_DATA(c), sizeof(fd));
                program.files.emplace_back(fd);
            }
            program.bytes.insert(program.bytes.end(), buffer.begin(), buffer.begin() + size);
        }
    }

    /// Whole events, and nothing else.
    static void read_events(const Program& program) {
        for (const UniqueFd& file : program.events) {
            Event event{};
            ssize_t size;
            while ((size = ::recv(file.get(), &event, sizeof(event), MSG_DONTWAIT)) > 0)
                require(size == sizeof(event) && event.type == kFenceEvent &&
                        event.length == sizeof(event));
        }
    }

    void check(Program& program) {
        for (;;) {
            Header header{};
            if (program.bytes.size() < sizeof(header)) return;
            std::memcpy(&header, program.bytes.data(), sizeof(header));
            require(header.size <= kMaxReportPayload);
            if (program.bytes.size() < sizeof(header) + header.size) return;
            require(!program.lost);  // nothing comes after it
            const auto payload = std::span(program.bytes).subspan(sizeof(header), header.size);
            switch (static_cast<Report>(header.type)) {
                case Report::kWelcome:
                    require(header.size >= sizeof(Welcome));
                    forget(program, header.request, static_cast<uint32_t>(Request::kHello));
                    break;
                case Report::kAnswer:
                    answer(program, header.request, payload);
                    break;
                case Report::kLost:
                    require(header.request == 0 && header.size != 0);
                    program.lost = true;
                    break;
                default:
                    require(false);
            }
            program.bytes.erase(
                program.bytes.begin(),
                program.bytes.begin() + static_cast<ptrdiff_t>(sizeof(header) + header.size));
        }
    }

    void answer(Program& program, uint64_t request, std::span<const std::byte> payload) {
        ByteReader reader(payload);
        const auto body = reader.read<Answer>();
        require(body.has_value());
        require((body->error != 0) == (reader.remaining() != 0) || body->error == EBUSY);
        const std::optional<uint32_t> type = forget(program, request, std::nullopt);
        if (!type || body->error != 0) return;
        const auto kind = static_cast<Request>(*type);
        if (kind != Request::kMap && kind != Request::kExport) return;
        // Memory comes whole, in a file that cannot be cut.
        require(!program.files.empty() && body->size != 0 && body->size % 4096 == 0);
        const int seals = ::fcntl(program.files.front().get(), F_GET_SEALS);
        require(seals >= 0 && (seals & F_SEAL_SHRINK) != 0);
        shared_ = std::move(program.files.front());
        program.files.erase(program.files.begin());
    }

    /// The type of the request that this answers; each is answered once.
    static std::optional<uint32_t> forget(Program& program, uint64_t request,
                                          std::optional<uint32_t> wanted) {
        require(request != 0);
        const auto found = program.expected.find(request);
        if (!program.numbers_known) {
            // Files can no longer be told apart.
            program.files.clear();
            return std::nullopt;
        }
        require(found != program.expected.end());
        require(!wanted || found->second == *wanted);
        const uint32_t type = found->second;
        program.expected.erase(found);
        return type;
    }

    World& world_;
    ByteReader input_;
    MintedFiles minted_{kPrograms, kMaxMinted};
    std::array<Program, kPrograms> programs_;
    std::optional<UniqueFd> shared_;
    bool sent_own_socket_ = false;
    uint64_t next_id_ = 1;
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
