// SPDX-License-Identifier: Apache-2.0
// A renderer process that says what it must not. The "process" is the test, at the other end of the
// socket.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <array>
#include <functional>

#include "harness.h"
#include "renderer_process/messages.h"
#include "unit/base/peer_socket.h"

namespace swede::test {
namespace {

using renderer_process::Answer;
using renderer_process::CapsetHeader;
using renderer_process::ChildProcess;
using renderer_process::ClientOptions;
using renderer_process::ContextLost;
using renderer_process::Header;
using renderer_process::Hello;
using renderer_process::Report;
using renderer_process::Request;

using Bytes = std::vector<std::byte>;

template <typename... Parts>
Bytes join(const Parts&... parts) {
    Bytes bytes;
    const auto append = [&](std::span<const std::byte> part) {
        for (const std::byte byte : part) bytes.push_back(byte);
    };
    (append(parts), ...);
    return bytes;
}

Bytes message(Report type, uint64_t request, std::span<const std::byte> payload) {
    return join(bytes_of(Header{static_cast<uint32_t>(type), static_cast<uint32_t>(payload.size()),
                                request}),
                payload);
}

Bytes capset(uint32_t id, size_t size = 4) {
    return join(bytes_of(CapsetHeader{id, 1, static_cast<uint32_t>(size), 0}), Bytes(size));
}

Bytes hello(const Bytes& capsets = capset(30), uint32_t count = 1,
            uint32_t version = renderer_process::kProtocolVersion) {
    return message(Report::kHello, 0, join(bytes_of(Hello{version, count, 0, 0}), capsets));
}

Bytes success(uint64_t request) {
    return message(Report::kAnswer, request, bytes_of(Answer{}));
}

class HostileRenderer : public RendererTest {
  protected:
    ClientOptions options(Bytes greeting) {
        ClientOptions options;
        options.start_deadline = 300ms;
        options.start = [this, greeting = std::move(greeting)]() -> Result<ChildProcess> {
            auto [ours, theirs] = testing::socket_pair();
            peer_ = std::move(theirs);
            say(greeting);
            ++starts_;
            ChildProcess child;
            child.socket = std::move(ours);
            return child;
        };
        return options;
    }
    void start(Bytes greeting = hello()) { start_process(options(std::move(greeting))); }

    [[nodiscard]] bool greets_well(Bytes greeting) {
        auto made = renderer_process::RendererProcess::create(*loop_, memory_, sink_,
                                                              options(std::move(greeting)));
        return made.has_value();
    }

    void say(std::span<const std::byte> bytes, std::span<const int> fds = {}) {
        if (bytes.empty()) return;
        EXPECT_EQ(testing::send_raw(peer_.get(), bytes, fds), static_cast<ssize_t>(bytes.size()));
    }

    /// The numbers of the requests that came since the last call.
    std::vector<uint64_t> requests() {
        Bytes bytes(1 << 16);
        const ssize_t size = ::recv(peer_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
        std::vector<uint64_t> numbers;
        if (size <= 0) return numbers;
        bytes.resize(static_cast<size_t>(size));
        ByteReader reader(bytes);
        while (auto header = reader.read<Header>()) {
            if (header->request != 0) numbers.push_back(header->request);
            if (!reader.read_bytes(header->size)) break;
        }
        return numbers;
    }

    /// A context that the hostile renderer has made.
    void make_context(rutabaga::ContextId context) {
        auto [done, made] = slot();
        renderer_->create_context(context, {30, ""}, std::move(done));
        say(success(requests().at(0)));
        ASSERT_TRUE(wait_until([&, &answer = *made] { return answer.has_value(); }));
        ASSERT_TRUE(made->value());
    }
    void make_blob(rutabaga::ContextId context, rutabaga::ResourceId resource, uint64_t size) {
        auto [done, made] = slot<rutabaga::BlobInfo>();
        renderer_->create_blob(context, resource, {2, 1, 0, size}, nullptr, std::move(done));
        say(success(requests().at(0)));
        ASSERT_TRUE(wait_until([&, &answer = *made] { return answer.has_value(); }));
        ASSERT_TRUE(made->value());
    }

    /// Says it with a context and an export out, and expects both lost, and service afterwards.
    void expect_loss(const std::function<void(uint64_t request)>& hostility) {
        make_context(1);
        make_blob(1, 7, kPageSize);
        auto [done, memory] = slot<rutabaga::SharedMemory>();
        renderer_->export_blob(7, std::move(done));
        const uint64_t ticket = fence(1, 0);
        hostility(requests().at(0));
        ASSERT_TRUE(wait_until([&] { return sink_->lost.contains(1); }));
        ASSERT_TRUE(wait_until([&, &answer = *memory] { return answer.has_value(); }));
        ASSERT_FALSE(memory->value());
        EXPECT_EQ((*memory)->error().code, ErrorCode::kDeviceLost);
        EXPECT_TRUE(wait_until([&] { return is_done(ticket); }));
        EXPECT_EQ(process_->pending_requests(), 0u);
        make_context(2);
        EXPECT_EQ(starts_, 2);
    }
    void expect_loss(const Bytes& bytes) {
        expect_loss([&](uint64_t) { say(bytes); });
    }
    void expect_refused_export(const Answer& answer, std::span<const int> fds) {
        expect_loss([&](uint64_t request) {
            say(message(Report::kAnswer, request, bytes_of(answer)), fds);
        });
    }
    static UniqueFd file(uint64_t size, int seals = F_SEAL_SHRINK) {
        UniqueFd fd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
        EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals), 0);
        return fd;
    }
    static Answer exported(uint64_t offset, uint64_t size) {
        Answer answer;
        answer.offset = offset;
        answer.size = size;
        return answer;
    }

    UniqueFd peer_;
    int starts_ = 0;
};

// --- the greeting ---

TEST_F(HostileRenderer, Hello_IsTaken) {
    EXPECT_TRUE(greets_well(hello()));
    EXPECT_TRUE(greets_well(hello(Bytes(), 0)));
    EXPECT_TRUE(greets_well(hello(join(capset(1), capset(63, 100)), 2)));
}

TEST_F(HostileRenderer, Hello_ThatDoesNotComeIsNotWaitedForForEver) {
    EXPECT_FALSE(greets_well({}));
}

TEST_F(HostileRenderer, Hello_CutShortIsNotWaitedForForEver) {
    Bytes cut = hello();
    cut.resize(cut.size() - 1);
    EXPECT_FALSE(greets_well(cut));
}

TEST_F(HostileRenderer, Hello_OfAnotherVersionIsRefused) {
    EXPECT_FALSE(greets_well(hello(capset(30), 1, renderer_process::kProtocolVersion + 1)));
}

TEST_F(HostileRenderer, Hello_OfWrongCapsetsIsRefused) {
    EXPECT_FALSE(greets_well(hello(capset(0))));
    EXPECT_FALSE(greets_well(hello(capset(64))));
    EXPECT_FALSE(greets_well(hello(capset(UINT32_MAX))));
    EXPECT_FALSE(greets_well(hello(join(capset(5), capset(5)), 2)));
    EXPECT_FALSE(greets_well(hello(capset(5), 2))) << "one is missing";
    EXPECT_FALSE(greets_well(hello(join(capset(5), capset(6)), 1))) << "one is too many";
    EXPECT_FALSE(greets_well(hello(capset(5), UINT32_MAX)));
    EXPECT_FALSE(
        greets_well(hello(join(bytes_of(CapsetHeader{5, 1, UINT32_MAX, 0}), Bytes(16)), 1)));
}

TEST_F(HostileRenderer, Hello_IsTheFirstWord) {
    EXPECT_FALSE(greets_well(success(1)));
    EXPECT_FALSE(greets_well(message(Report::kFencesDone, 0, Bytes(8))));
    EXPECT_FALSE(greets_well(message(static_cast<Report>(0x777), 0, {})));
    EXPECT_FALSE(greets_well(Bytes(64, std::byte{0xff})));
}

TEST_F(HostileRenderer, Hello_ComesOnce) {
    start();
    expect_loss(hello());
}

TEST_F(HostileRenderer, Hello_OfALaterProcessMustBeTheSame) {
    start();
    make_context(1);
    process_->reset(slot().first);
    peer_.reset();
    ASSERT_TRUE(wait_until([&] { return process_->process_id() == 0; }));
    // The next one is another renderer.
    ClientOptions other = options(hello(capset(31)));
    renderer_.reset();
    int starts = 0;
    ClientOptions both;
    both.start = [&]() -> Result<ChildProcess> {
        auto child = other.start();
        if (++starts == 1) {
            // Replace the wrong greeting by the right one for the first process.
            auto [ours, theirs] = testing::socket_pair();
            peer_ = std::move(theirs);
            say(hello());
            ChildProcess first;
            first.socket = std::move(ours);
            return first;
        }
        return child;
    };
    start_process(std::move(both));
    peer_.reset();
    turn();
    auto [done, made] = slot();
    renderer_->create_context(2, {30, ""}, std::move(done));
    ASSERT_TRUE(wait_until([&, &answer = *made] { return answer.has_value(); }));
    EXPECT_FALSE(made->value());
    EXPECT_EQ(starts, 2);
}

// --- messages ---

TEST_F(HostileRenderer, Garbage_LosesIt) {
    start();
    expect_loss(Bytes(64, std::byte{0xff}));
}

TEST_F(HostileRenderer, UnknownMessage_LosesIt) {
    start();
    expect_loss(message(static_cast<Report>(0x104), 0, {}));
}

TEST_F(HostileRenderer, RequestInsteadOfAReport_LosesIt) {
    start();
    expect_loss(message(static_cast<Report>(Request::kPing), 1, {}));
}

TEST_F(HostileRenderer, OversizedMessage_LosesIt) {
    start();
    expect_loss(join(bytes_of(Header{static_cast<uint32_t>(Report::kFencesDone),
                                     renderer_process::kMaxReportPayload + 1, 0})));
}

TEST_F(HostileRenderer, MessageCutShortByTheEnd_LosesIt) {
    start();
    expect_loss([&](uint64_t request) {
        Bytes cut = success(request);
        cut.resize(cut.size() - 1);
        say(cut);
        peer_.reset();
    });
}

TEST_F(HostileRenderer, AnswerToNothing_LosesIt) {
    start();
    expect_loss([&](uint64_t request) { say(success(request + 1)); });
}

TEST_F(HostileRenderer, AnswerWithoutANumber_LosesIt) {
    start();
    expect_loss(success(0));
}

TEST_F(HostileRenderer, AnswerGivenTwice_LosesIt) {
    start();
    expect_loss([&](uint64_t request) { say(success(request - 1)); });
}

TEST_F(HostileRenderer, AnswerTooShort_LosesIt) {
    start();
    expect_loss([&](uint64_t request) { say(message(Report::kAnswer, request, Bytes(31))); });
}

TEST_F(HostileRenderer, AnswerTooLong_LosesIt) {
    start();
    const UniqueFd memory = file(kPageSize);
    const int fd = memory.get();
    expect_loss([&](uint64_t request) {
        say(message(Report::kAnswer, request, join(bytes_of(exported(0, kPageSize)), Bytes(1))),
            std::span(&fd, 1));
    });
}

TEST_F(HostileRenderer, FileThatNobodyAskedFor_LosesItAndIsClosed) {
    start();
    make_context(3);
    const size_t before = census().files;
    {
        const UniqueFd memory = file(kPageSize);
        const int fd = memory.get();
        auto [done, made] = slot();
        renderer_->destroy_context(3, std::move(done));
        say(message(Report::kAnswer, requests().at(0), bytes_of(Answer{})), std::span(&fd, 1));
        ASSERT_TRUE(wait_until([&, &answer = *made] { return answer.has_value(); }));
        EXPECT_FALSE(made->value());
    }
    peer_.reset();
    EXPECT_LT(census().files, before) << "both ends of the socket are closed, and the file";
}

TEST_F(HostileRenderer, FencesWithAFile_LoseIt) {
    start();
    const UniqueFd memory = file(kPageSize);
    const int fd = memory.get();
    expect_loss([&](uint64_t) {
        say(message(Report::kFencesDone, 0, bytes_of(uint64_t{1})), std::span(&fd, 1));
    });
}

TEST_F(HostileRenderer, RefusalWithTextForTheTerminal_IsEscaped) {
    start();
    auto [done, made] = slot();
    renderer_->create_context(1, {30, ""}, std::move(done));
    Answer refusal;
    refusal.failed = 1;
    refusal.code = 12345;
    const std::string text("\x1b[2Jboo\n");
    say(message(Report::kAnswer, requests().at(0),
                join(bytes_of(refusal), std::as_bytes(std::span(text)))));
    ASSERT_TRUE(wait_until([&, &answer = *made] { return answer.has_value(); }));
    ASSERT_FALSE(made->value());
    EXPECT_EQ((*made)->error().code, ErrorCode::kUnspecified);
    EXPECT_EQ((*made)->error().message, "\\x1b[2Jboo\\x0a");
}

TEST_F(HostileRenderer, UnknownCacheType_LosesIt) {
    start();
    make_context(1);
    auto [done, made] = slot<rutabaga::BlobInfo>();
    renderer_->create_blob(1, 7, {2, 1, 0, kPageSize}, nullptr, std::move(done));
    Answer answer;
    answer.map_info = 4;
    say(message(Report::kAnswer, requests().at(0), bytes_of(answer)));
    ASSERT_TRUE(wait_until([&, &blob = *made] { return blob.has_value(); }));
    EXPECT_FALSE(made->value());
    EXPECT_TRUE(sink_->lost.contains(1));
}

// --- exported memory ---

TEST_F(HostileRenderer, Export_IsTakenWhenItCannotShrink) {
    start();
    make_context(1);
    make_blob(1, 7, kPageSize);
    auto [done, memory] = slot<rutabaga::SharedMemory>();
    renderer_->export_blob(7, std::move(done));
    const UniqueFd sealed = file(4 * kPageSize);
    const int fd = sealed.get();
    say(message(Report::kAnswer, requests().at(0), bytes_of(exported(kPageSize, kPageSize))),
        std::span(&fd, 1));
    ASSERT_TRUE(wait_until([&, &answer = *memory] { return answer.has_value(); }));
    ASSERT_TRUE(memory->value()) << (*memory)->error().message;
    EXPECT_EQ((*memory)->value().offset, kPageSize);
    EXPECT_TRUE(sink_->lost.empty());
}

TEST_F(HostileRenderer, ExportWithoutAFile_LosesIt) {
    start();
    expect_refused_export(exported(0, kPageSize), {});
}

TEST_F(HostileRenderer, ExportWithTwoFiles_LosesIt) {
    start();
    const UniqueFd a = file(kPageSize);
    const UniqueFd b = file(kPageSize);
    expect_refused_export(exported(0, kPageSize), std::array{a.get(), b.get()});
}

TEST_F(HostileRenderer, ExportThatCanShrink_LosesIt) {
    start();
    const UniqueFd unsealed = file(kPageSize, 0);
    expect_refused_export(exported(0, kPageSize), std::array{unsealed.get()});
}

TEST_F(HostileRenderer, ExportOfADevice_LosesIt) {
    start();
    const UniqueFd device(::open("/dev/zero", O_RDWR | O_CLOEXEC));
    expect_refused_export(exported(0, kPageSize), std::array{device.get()});
}

TEST_F(HostileRenderer, ExportPastTheEndOfItsFile_LosesIt) {
    start();
    const UniqueFd memory = file(kPageSize);
    expect_refused_export(exported(kPageSize, kPageSize), std::array{memory.get()});
}

TEST_F(HostileRenderer, ExportSmallerThanTheBlob_LosesIt) {
    start();
    const UniqueFd memory = file(kPageSize);
    expect_refused_export(exported(0, kPageSize - 1), std::array{memory.get()});
}

TEST_F(HostileRenderer, ExportInsideAPage_LosesIt) {
    start();
    const UniqueFd memory = file(4 * kPageSize);
    expect_refused_export(exported(512, kPageSize), std::array{memory.get()});
}

TEST_F(HostileRenderer, LateExportOfAnOldEpoch_IsDroppedAndClosed) {
    start();
    make_context(1);
    make_blob(1, 7, kPageSize);
    auto [done, memory] = slot<rutabaga::SharedMemory>();
    renderer_->export_blob(7, std::move(done));
    const uint64_t old = requests().at(0);
    auto [reset_done, over] = slot();
    renderer_->reset(std::move(reset_done));
    const uint64_t reset_request = requests().at(0);
    const size_t before = census().files;
    {
        const UniqueFd sealed = file(kPageSize);
        const int fd = sealed.get();
        say(message(Report::kAnswer, old, bytes_of(exported(0, kPageSize))), std::span(&fd, 1));
    }
    say(success(reset_request));
    ASSERT_TRUE(wait_until([&, &answer = *over] { return answer.has_value(); }));
    EXPECT_TRUE(over->value());
    EXPECT_EQ(census().files, before);
    EXPECT_EQ(starts_, 1);
    turn();
    ASSERT_TRUE(memory->has_value());
    EXPECT_EQ((*memory)->error().code, ErrorCode::kDeviceLost);
}

// --- fences and contexts ---

TEST_F(HostileRenderer, FenceThatWasNeverGiven_IsNotReported) {
    start();
    make_context(1);
    const uint64_t ticket = fence(1, 0);
    say(message(Report::kFencesDone, 0, bytes_of(ticket + 1000)));
    say(message(Report::kContextLost, 0, bytes_of(ContextLost{1, 0})));
    ASSERT_TRUE(wait_until([&] { return sink_->lost.contains(1); }));
    EXPECT_TRUE(sink_->fences.empty());
}

TEST_F(HostileRenderer, FenceReportedTwice_LosesItAndIsReportedOnce) {
    start();
    make_context(1);
    const uint64_t ticket = fence(1, 0);
    const Bytes twice = message(Report::kFencesDone, 0, join(bytes_of(ticket), bytes_of(ticket)));
    say(twice);
    ASSERT_TRUE(wait_until([&] { return sink_->lost.contains(1); }));
    EXPECT_EQ(sink_->fences, std::vector{ticket});
}

TEST_F(HostileRenderer, FencesWithoutEnd_LoseIt) {
    start();
    expect_loss(message(Report::kFencesDone, 0, Bytes(8 * 100)));
}

TEST_F(HostileRenderer, HalfAFence_LosesIt) {
    start();
    expect_loss(message(Report::kFencesDone, 0, Bytes(12)));
}

TEST_F(HostileRenderer, NoFence_LosesIt) {
    start();
    expect_loss(message(Report::kFencesDone, 0, {}));
}

TEST_F(HostileRenderer, LossOfAContextThatIsNot_IsNotReported) {
    start();
    make_context(1);
    say(message(Report::kContextLost, 0, bytes_of(ContextLost{77, 0})));
    auto [done, gone] = slot();
    renderer_->destroy_context(1, std::move(done));
    say(success(requests().at(0)));
    ASSERT_TRUE(wait_until([&, &answer = *gone] { return answer.has_value(); }));
    EXPECT_TRUE(sink_->lost.empty());
}

TEST_F(HostileRenderer, LossesWithoutEnd_LoseIt) {
    start();
    const Bytes once = message(Report::kContextLost, 0, bytes_of(ContextLost{77, 0}));
    expect_loss(join(once, once, once));
}

TEST_F(HostileRenderer, LossCutShort_LosesIt) {
    start();
    expect_loss(message(Report::kContextLost, 0, Bytes(7)));
}

TEST_F(HostileRenderer, RefusalOfAReset_LosesIt) {
    start();
    make_context(1);
    auto [done, over] = slot();
    renderer_->reset(std::move(done));
    Answer refusal;
    refusal.failed = 1;
    say(message(Report::kAnswer, requests().at(0), bytes_of(refusal)));
    ASSERT_TRUE(wait_until([&, &answer = *over] { return answer.has_value(); }));
    EXPECT_TRUE(over->value()) << "gone is reset";
    make_context(1);
    EXPECT_EQ(starts_, 2);
}

}  // namespace
}  // namespace swede::test
