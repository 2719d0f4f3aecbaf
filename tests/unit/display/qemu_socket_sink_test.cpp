// SPDX-License-Identifier: Apache-2.0
#include "display/qemu_socket_sink.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>

#include "base/bytes.h"
#include "display/qemu_socket_protocol.h"
#include "pictures.h"
#include "unit/base/peer_socket.h"

namespace swede::display {
namespace {

using qemu_socket::Header;
using qemu_socket::Request;
using rutabaga::PixelFormat;
using rutabaga::Rect;

struct Received {
    Request request;
    std::vector<std::byte> payload;

    template <typename T>
    [[nodiscard]] T as() const {
        return ByteReader(payload).read<T>().value();
    }
};

/// QEMU's end of the display socket.
class QemuSocketSinkTest : public ::testing::Test {
  protected:
    QemuSocketSinkTest()
        : loop_(EventLoop::create().value()), sink_(*loop_, [this](const wire::RespDisplayInfo* i) {
              infos_.push_back(i == nullptr ? std::nullopt : std::optional(*i));
          }) {}

    /// Gives the sink a new socket; small, so that it fills quickly.
    void attach() {
        auto [ours, sinks] = testing::socket_pair();
        qemu_ = std::move(ours);
        const int size = 32 * 1024;
        ::setsockopt(sinks.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        buffer_.clear();
        ASSERT_TRUE(sink_.attach(std::move(sinks)));
    }
    void turn() { loop_->run_once(std::chrono::milliseconds(0)); }

    /// Bytes that QEMU takes from the socket now.
    size_t read_some(size_t most = SIZE_MAX) {
        size_t total = 0;
        std::byte part[65536];
        while (total < most) {
            const ssize_t size =
                ::recv(qemu_.get(), part, std::min(sizeof(part), most - total), MSG_DONTWAIT);
            if (size <= 0) break;
            buffer_.insert(buffer_.end(), part, part + size);
            total += static_cast<size_t>(size);
        }
        return total;
    }
    std::optional<Received> next() {
        if (buffer_.size() < sizeof(Header)) return std::nullopt;
        const auto header = ByteReader(buffer_).read<Header>().value();
        EXPECT_EQ(header.flags, 0u);
        if (buffer_.size() < sizeof(Header) + header.size) return std::nullopt;
        const auto begin = buffer_.begin() + sizeof(Header);
        Received received{static_cast<Request>(header.request), {begin, begin + header.size}};
        buffer_.erase(buffer_.begin(), begin + header.size);
        return received;
    }
    /// All messages, as a QEMU that reads as fast as it can gets them.
    std::vector<Received> drain() {
        std::vector<Received> all;
        for (int idle = 0; idle < 3;) {
            turn();
            idle = read_some() == 0 ? idle + 1 : 0;
        }
        while (auto message = next()) all.push_back(*std::move(message));
        EXPECT_TRUE(buffer_.empty());
        return all;
    }
    void send(const void* data, size_t size) {
        ASSERT_EQ(::send(qemu_.get(), data, size, MSG_NOSIGNAL), static_cast<ssize_t>(size));
    }
    template <typename T>
    void answer(Request request, const T& payload, uint32_t flags = qemu_socket::kFlagReply,
                uint32_t size = sizeof(T)) {
        const Header header{static_cast<uint32_t>(request), flags, size};
        send(&header, sizeof(header));
        send(&payload, sizeof(payload));
    }
    wire::RespDisplayInfo info(uint32_t width = 800, uint32_t height = 600) {
        wire::RespDisplayInfo info{};
        info.header.type = wire::kRespOkDisplayInfo;
        info.modes[0] = {{0, 0, width, height}, 1, 0};
        return info;
    }
    /// Attaches and answers the two first requests; what was shown before follows.
    void start() {
        attach();
        drain();
        answer(Request::kGetProtocolFeatures, uint64_t{3});
        answer(Request::kGetDisplayInfo, info());
    }
    void start_quietly() {
        start();
        drain();
        infos_.clear();
    }
    std::shared_ptr<FunctionFrame> frame(uint32_t width, uint32_t height,
                                         PixelFormat format = PixelFormat::kB8G8R8X8) {
        return std::make_shared<FunctionFrame>(
            width, height, format, [](uint32_t x, uint32_t y) -> FunctionFrame::Bytes {
                return {uint8_t(x), uint8_t(y), uint8_t(x ^ y), 0xff};
            });
    }
    /// What QEMU's surface holds after these messages; fails where QEMU would.
    struct Surface {
        uint32_t width = 0;
        uint32_t height = 0;
        bool adopted = true;
        std::vector<uint32_t> pixels;
    };
    void draw(const std::vector<Received>& messages) {
        for (const Received& message : messages) {
            if (message.request == Request::kScanout) {
                const auto scanout = message.as<qemu_socket::Scanout>();
                Surface& surface = surfaces_[scanout.scanout];
                EXPECT_TRUE(surface.adopted) << "QEMU leaks a surface that it never showed";
                surface = {scanout.width, scanout.height, scanout.width == 0, {}};
                surface.pixels.resize(size_t{scanout.width} * scanout.height);
            } else if (message.request == Request::kUpdate) {
                const auto head = message.as<qemu_socket::UpdateHead>();
                Surface& surface = surfaces_[head.scanout];
                ASSERT_TRUE(rutabaga::rect_inside(head.rect, surface.width, surface.height))
                    << "QEMU draws outside its surface, or without one";
                const size_t count = size_t{head.rect.width} * head.rect.height;
                ASSERT_EQ(message.payload.size(), sizeof(head) + count * 4);
                surface.adopted = true;
                for (size_t i = 0; i < count; ++i)
                    std::memcpy(
                        &surface.pixels[(head.rect.y + i / head.rect.width) * surface.width +
                                        head.rect.x + i % head.rect.width],
                        &message.payload[sizeof(head) + i * 4], 4);
            }
        }
    }
    static uint32_t expected(uint32_t x, uint32_t y) {
        return 0xff000000 | uint32_t{uint8_t(x ^ y)} << 16 | uint32_t{uint8_t(y)} << 8 | uint8_t(x);
    }
    void expect_whole_frame(uint32_t scanout, uint32_t width, uint32_t height) {
        const Surface& surface = surfaces_[scanout];
        ASSERT_EQ(surface.width, width);
        ASSERT_EQ(surface.height, height);
        for (uint32_t y = 0; y < height; ++y)
            for (uint32_t x = 0; x < width; ++x)
                ASSERT_EQ(surface.pixels[size_t{y} * width + x] | 0xff000000, expected(x, y))
                    << "at " << x << ", " << y;
    }

    std::unique_ptr<EventLoop> loop_;
    std::vector<std::optional<wire::RespDisplayInfo>> infos_;
    QemuSocketSink sink_;
    UniqueFd qemu_;
    std::vector<std::byte> buffer_;
    std::map<uint32_t, Surface> surfaces_;
};

TEST_F(QemuSocketSinkTest, Attach_AsksForFeaturesAndDisplayInfo) {
    attach();
    const auto sent = drain();
    ASSERT_EQ(sent.size(), 2u);
    EXPECT_EQ(sent[0].request, Request::kGetProtocolFeatures);
    EXPECT_TRUE(sent[0].payload.empty());
    EXPECT_EQ(sent[1].request, Request::kGetDisplayInfo);
    EXPECT_TRUE(sink_.waiting_for_display_info());
}

TEST_F(QemuSocketSinkTest, Attach_RefusesWhatIsNoUnixStreamSocket) {
    EXPECT_FALSE(sink_.attach(UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC))));
    int pair[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
    const UniqueFd other(pair[0]);
    EXPECT_FALSE(sink_.attach(UniqueFd(pair[1])));
    EXPECT_FALSE(sink_.attached());
}

TEST_F(QemuSocketSinkTest, ProtocolFeatures_NoneIsTaken) {
    start();
    const auto sent = drain();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].request, Request::kSetProtocolFeatures);
    EXPECT_EQ(sent[0].as<uint64_t>(), 0u);
}

TEST_F(QemuSocketSinkTest, DisplayInfo_IsHandedOnAndMayBeAskedAgain) {
    start();
    drain();
    ASSERT_EQ(infos_.size(), 1u);
    EXPECT_EQ(infos_[0]->modes[0].rect.width, 800u);
    EXPECT_FALSE(sink_.waiting_for_display_info());
    sink_.request_display_info();
    EXPECT_EQ(drain().size(), 1u);
    answer(Request::kGetDisplayInfo, info(1024, 768));
    drain();
    ASSERT_EQ(infos_.size(), 2u);
    EXPECT_EQ(infos_[1]->modes[0].rect.width, 1024u);
}

TEST_F(QemuSocketSinkTest, DisplayInfo_AnAnswerFromBeforeTheLatestRequestIsNotTheAnswer) {
    start_quietly();
    sink_.request_display_info();
    sink_.request_display_info();
    sink_.request_display_info();
    EXPECT_EQ(drain().size(), 1u);
    answer(Request::kGetDisplayInfo, info(640, 480));
    EXPECT_EQ(drain().size(), 1u);
    EXPECT_TRUE(infos_.empty());
    EXPECT_TRUE(sink_.waiting_for_display_info());
    answer(Request::kGetDisplayInfo, info(1600, 1200));
    drain();
    ASSERT_EQ(infos_.size(), 1u);
    EXPECT_EQ(infos_[0]->modes[0].rect.width, 1600u);
}

TEST_F(QemuSocketSinkTest, Scanout_IsSentBeforeItsPixelsAndNotBeforeTheFeatures) {
    sink_.set_scanout(0, frame(64, 48));
    attach();
    EXPECT_EQ(drain().size(), 2u);
    answer(Request::kGetProtocolFeatures, uint64_t{3});
    const auto sent = drain();
    ASSERT_GE(sent.size(), 3u);
    EXPECT_EQ(sent[1].request, Request::kScanout);
    EXPECT_EQ(sent[1].as<qemu_socket::Scanout>().width, 64u);
    draw(sent);
    expect_whole_frame(0, 64, 48);
}

TEST_F(QemuSocketSinkTest, Update_CarriesTheDamageOnly) {
    start_quietly();
    sink_.set_scanout(0, frame(640, 480));
    drain();
    sink_.flush(0, {10, 20, 30, 40});
    const auto sent = drain();
    ASSERT_EQ(sent.size(), 1u);
    const auto head = sent[0].as<qemu_socket::UpdateHead>();
    EXPECT_EQ(head.rect.x, 10u);
    EXPECT_EQ(head.rect.y, 20u);
    EXPECT_EQ(head.rect.width, 30u);
    EXPECT_EQ(head.rect.height, 40u);
    EXPECT_EQ(sent[0].payload.size(), sizeof(head) + 30 * 40 * 4);
}

TEST_F(QemuSocketSinkTest, Update_IsConvertedToX8R8G8B8) {
    start_quietly();
    sink_.set_scanout(
        0, std::make_shared<FunctionFrame>(
               16, 16, PixelFormat::kR8G8B8A8, [](uint32_t x, uint32_t y) -> FunctionFrame::Bytes {
                   return {uint8_t(x ^ y), uint8_t(y), uint8_t(x), 0x80};
               }));
    draw(drain());
    expect_whole_frame(0, 16, 16);
}

TEST_F(QemuSocketSinkTest, Update_OfALargeFrameComesInStrips) {
    start_quietly();
    sink_.set_scanout(0, frame(1920, 1080));
    const auto sent = drain();
    for (const Received& message : sent)
        EXPECT_LE(message.payload.size(),
                  QemuSocketSink::kStripBytes + sizeof(qemu_socket::UpdateHead));
    draw(sent);
    expect_whole_frame(0, 1920, 1080);
}

TEST_F(QemuSocketSinkTest, Update_OfTheWidestFrameIsWhole) {
    start_quietly();
    sink_.set_scanout(0, frame(QemuSocketSink::kMaxSide, 40));
    draw(drain());
    expect_whole_frame(0, QemuSocketSink::kMaxSide, 40);
}

TEST_F(QemuSocketSinkTest, D19_Update_DamageOutsideTheFrameIsNotSent) {
    start_quietly();
    sink_.set_scanout(0, frame(100, 100));
    drain();
    sink_.flush(0, {100, 100, 5, 5});
    sink_.flush(0, {0xffffffff, 0, 5, 5});
    sink_.flush(16, {0, 0, 1, 1});
    EXPECT_TRUE(drain().empty());
    sink_.flush(0, {90, 90, 0xffffffff, 0xffffffff});
    const auto sent = drain();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].as<qemu_socket::UpdateHead>().rect.width, 10u);
}

TEST_F(QemuSocketSinkTest, SlowQemu_DamageIsJoinedAndNothingGrows) {
    start_quietly();
    sink_.set_scanout(0, frame(1920, 1080));
    for (uint32_t i = 0; i < 10'000; ++i) sink_.flush(0, {i % 1900, i % 1000, 8, 8});
    for (int i = 0; i < 100; ++i) turn();
    const auto sent = drain();
    size_t bytes = 0;
    for (const Received& message : sent) bytes += message.payload.size();
    EXPECT_LT(bytes, size_t{3} * 1920 * 1080 * 4) << "more than the frame and its damage once";
    draw(sent);
    expect_whole_frame(0, 1920, 1080);
}

TEST_F(QemuSocketSinkTest, SlowQemu_BottomIsReachedWhileTheTopIsDrawnAllTheTime) {
    start_quietly();
    sink_.set_scanout(0, frame(1280, 800));
    std::vector<Received> sent;
    for (int i = 0; i < 400; ++i) {
        sink_.flush(0, {0, 0, 1280, 100});
        read_some(64 * 1024);
        turn();
        while (auto message = next()) sent.push_back(*std::move(message));
    }
    draw(sent);
    expect_whole_frame(0, 1280, 800);
}

TEST_F(QemuSocketSinkTest, SlowQemu_ASmallScanoutIsNotStuckBehindALargeOne) {
    start_quietly();
    sink_.set_scanout(0, frame(4000, 4000));
    sink_.set_scanout(1, frame(32, 32));
    bool seen = false;
    size_t before = 0;
    while (!seen) {
        ASSERT_NE(read_some(64 * 1024), 0u);
        turn();
        while (auto message = next()) {
            before += message->payload.size();
            seen = seen || (message->request == Request::kUpdate &&
                            message->as<qemu_socket::UpdateHead>().scanout == 1);
        }
    }
    EXPECT_LT(before, 4 * QemuSocketSink::kStripBytes);
}

TEST_F(QemuSocketSinkTest, D19_Scanout_NoUpdateFollowsItsEnd) {
    start_quietly();
    sink_.set_scanout(0, frame(64, 64));
    sink_.flush(0, {0, 0, 64, 64});
    sink_.set_scanout(0, nullptr);
    sink_.flush(0, {0, 0, 64, 64});
    draw(drain());
    EXPECT_EQ(surfaces_[0].width, 0u);
}

TEST_F(QemuSocketSinkTest, Scanout_EveryModeIsAdoptedBeforeTheNext) {
    start_quietly();
    for (uint32_t i = 1; i < 200; ++i) {
        sink_.set_scanout(0, frame(i, i));
        if (i % 3 == 0) sink_.set_scanout(0, nullptr);
        if (i % 5 == 0) draw(drain());
    }
    draw(drain());
    expect_whole_frame(0, 199, 199);
}

TEST_F(QemuSocketSinkTest, Scanout_OutOfAllProportionIsNotAskedOfQemu) {
    start_quietly();
    sink_.set_scanout(0, frame(QemuSocketSink::kMaxSide + 1, 1));
    sink_.flush(0, {0, 0, 1, 1});
    EXPECT_TRUE(drain().empty());
    sink_.set_scanout(0, frame(8, 8));
    draw(drain());
    expect_whole_frame(0, 8, 8);
}

TEST_F(QemuSocketSinkTest, Scanout_APageFlipSendsPixelsAndNoNewMode) {
    start_quietly();
    sink_.set_scanout(0, frame(64, 64));
    drain();
    sink_.set_scanout(0,
                      std::make_shared<FunctionFrame>(
                          64, 64, PixelFormat::kB8G8R8X8,
                          [](uint32_t, uint32_t) -> FunctionFrame::Bytes { return {7, 7, 7, 7}; }));
    const auto sent = drain();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].request, Request::kUpdate);
    EXPECT_EQ(sent[0].payload.back(), std::byte{7});
}

TEST_F(QemuSocketSinkTest, Scanout_MemoryThatWentAwayIsSkipped) {
    class GoneFrame : public rutabaga::Frame {
      public:
        GoneFrame() : Frame(64, 64, PixelFormat::kB8G8R8X8) {}
        Result<void> read(const Rect&, std::byte*, uint64_t) const override {
            return fail(ErrorCode::kInvalidResource, "The backing is revoked.");
        }
    };
    start_quietly();
    sink_.set_scanout(0, std::make_shared<GoneFrame>());
    sink_.flush(0, {0, 0, 64, 64});
    draw(drain());
    sink_.set_scanout(0, frame(32, 32));
    draw(drain());
    expect_whole_frame(0, 32, 32);
}

TEST_F(QemuSocketSinkTest, Cursor_ImageMoveAndHide) {
    start_quietly();
    auto image = std::make_shared<rutabaga::CursorImage>();
    image->hot_x = 3;
    image->hot_y = 4;
    image->pixels[65] = 0x80ff0000;
    sink_.set_cursor(0, image, 100, 50);
    auto sent = drain();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].request, Request::kCursorUpdate);
    ASSERT_EQ(sent[0].payload.size(), sizeof(qemu_socket::CursorUpdateHead) + 64 * 64 * 4);
    const auto head = sent[0].as<qemu_socket::CursorUpdateHead>();
    EXPECT_EQ(head.position.x, 97u) << "QEMU wants the corner";
    EXPECT_EQ(head.position.y, 46u);
    EXPECT_EQ(head.hot_y, 4u);
    uint32_t pixel;
    std::memcpy(&pixel, &sent[0].payload[sizeof(head) + 65 * 4], 4);
    EXPECT_EQ(pixel, 0x80ff0000u);

    sink_.move_cursor(0, -5, 60);
    sent = drain();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].request, Request::kCursorPos);
    EXPECT_EQ(sent[0].as<qemu_socket::CursorPosition>().x, static_cast<uint32_t>(-8));

    sink_.set_cursor(0, nullptr, 0, 0);
    sent = drain();
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].request, Request::kCursorPosHide);
}

TEST_F(QemuSocketSinkTest, Cursor_LatestPositionWins) {
    start_quietly();
    sink_.set_scanout(0, frame(1920, 1080));  // fills the socket
    sink_.set_cursor(0, std::make_shared<rutabaga::CursorImage>(), 0, 0);
    for (int i = 1; i <= 10'000; ++i) sink_.move_cursor(0, i, i);
    size_t cursors = 0;
    for (const Received& message : drain()) {
        if (message.request != Request::kCursorUpdate && message.request != Request::kCursorPos)
            continue;
        ++cursors;
        EXPECT_EQ(message.as<qemu_socket::CursorPosition>().x, 10'000u);
    }
    EXPECT_EQ(cursors, 1u);
}

TEST_F(QemuSocketSinkTest, NewSocket_IsToldEverythingAgain) {
    start_quietly();
    sink_.set_scanout(2, frame(40, 30));
    sink_.set_cursor(2, std::make_shared<rutabaga::CursorImage>(), 1, 1);
    drain();
    surfaces_.clear();
    start();
    const auto sent = drain();
    draw(sent);
    expect_whole_frame(2, 40, 30);
    EXPECT_TRUE(std::ranges::any_of(
        sent, [](const Received& message) { return message.request == Request::kCursorUpdate; }));
}

TEST_F(QemuSocketSinkTest, Qemu_GoneWhileADisplayInfoIsOutIsTold) {
    attach();
    qemu_.reset();
    turn();
    EXPECT_FALSE(sink_.attached());
    ASSERT_EQ(infos_.size(), 1u);
    EXPECT_FALSE(infos_[0].has_value());
    sink_.set_scanout(0, frame(8, 8));
    sink_.flush(0, {0, 0, 8, 8});
}

// What QEMU, or who takes its place, may send wrongly: each ends the display socket and no more.
class QemuSocketSinkBadAnswer : public QemuSocketSinkTest {
  protected:
    void expect_given_up() {
        turn();
        turn();
        EXPECT_FALSE(sink_.attached());
        sink_.set_scanout(0, frame(8, 8));
        sink_.flush(0, {0, 0, 8, 8});
    }
};

TEST_F(QemuSocketSinkBadAnswer, FeaturesThatNobodyAskedFor) {
    start_quietly();
    answer(Request::kGetProtocolFeatures, uint64_t{3});
    expect_given_up();
}

TEST_F(QemuSocketSinkBadAnswer, DisplayInfoThatNobodyAskedFor) {
    start_quietly();
    answer(Request::kGetDisplayInfo, info());
    expect_given_up();
}

TEST_F(QemuSocketSinkBadAnswer, FeaturesOfAWrongSize) {
    attach();
    answer(Request::kGetProtocolFeatures, uint32_t{3});
    expect_given_up();
}

TEST_F(QemuSocketSinkBadAnswer, DisplayInfoOfAWrongSize) {
    attach();
    answer(Request::kGetDisplayInfo, uint64_t{0});
    expect_given_up();
}

TEST_F(QemuSocketSinkBadAnswer, DisplayInfoOfAWrongType) {
    attach();
    auto wrong = info();
    wrong.header.type = wire::kRespErrUnspec;
    answer(Request::kGetDisplayInfo, wrong);
    expect_given_up();
}

TEST_F(QemuSocketSinkBadAnswer, NoReplyFlag) {
    attach();
    answer(Request::kGetProtocolFeatures, uint64_t{3}, 0);
    expect_given_up();
}

TEST_F(QemuSocketSinkBadAnswer, LengthBeyondAllMessages) {
    attach();
    answer(Request::kGetDisplayInfo, info(), qemu_socket::kFlagReply, 0xffffffff);
    expect_given_up();
}

TEST_F(QemuSocketSinkBadAnswer, UnknownRequest) {
    attach();
    const Header header{10, qemu_socket::kFlagReply, 0};  // DMABUF_UPDATE, which is never sent
    send(&header, sizeof(header));
    expect_given_up();
}

TEST_F(QemuSocketSinkBadAnswer, FileDescriptor) {
    attach();
    const Header header{1, qemu_socket::kFlagReply, 8};
    const int fd = qemu_.get();
    ASSERT_GT(testing::send_raw(fd, bytes_of(header), std::span(&fd, 1)), 0);
    expect_given_up();
}

TEST_F(QemuSocketSinkBadAnswer, HalfAnAnswerIsWaitedForWithoutAWakeUp) {
    attach();
    const uint32_t half = 1;
    send(&half, sizeof(half));
    turn();
    turn();
    EXPECT_TRUE(sink_.attached());
    qemu_.reset();
    expect_given_up();
}

}  // namespace
}  // namespace swede::display
