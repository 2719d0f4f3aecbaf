// SPDX-License-Identifier: Apache-2.0
#include "swede/control_client.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "base/unix_socket.h"

namespace swede::control_client {
namespace {

constexpr time_t kPatience = 30;                 // s
constexpr size_t kMaxReply = size_t{64} * 1024;  // bytes

Result<void> write_all(int fd, std::string_view what, std::span<const char> bytes) {
    while (!bytes.empty()) {
        const ssize_t size = ::write(fd, bytes.data(), bytes.size());
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return fail_errno(fmt::format("Cannot write to {}", what), errno);
        bytes = bytes.subspan(static_cast<size_t>(size));
    }
    return {};
}

/// Reads until a newline; takes the first fd that comes along.
Result<std::string> read_line(int socket, UniqueFd& file) {
    std::string line;
    while (line.find('\n') == std::string::npos) {
        std::array<char, 4096> bytes;
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
        iovec part{bytes.data(), bytes.size()};
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        header.msg_control = control.data();
        header.msg_controllen = control.size();
        const ssize_t size = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && errno == EAGAIN)
            return fail(ErrorCode::kSystem, "The device did not answer within {} s.", kPatience);
        if (size < 0) return fail_errno("Cannot read the device's answer", errno);
        if (size == 0)
            return fail(ErrorCode::kClosed, "The device closed the connection without an answer.");
        const cmsghdr* const c = CMSG_FIRSTHDR(&header);
        if (c != nullptr && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            int received;
            std::memcpy(&received, CMSG_DATA(c), sizeof(received));
            file.reset(received);
        }
        line.append(bytes.data(), static_cast<size_t>(size));
        if (line.size() > kMaxReply)
            return fail(ErrorCode::kProtocol, "The device's answer is longer than {} bytes.",
                        kMaxReply);
    }
    return line;
}

Result<void> copy(int from, int to, const std::string& name) {
    std::array<char, size_t{64} * 1024> bytes;
    for (;;) {
        const ssize_t size = ::read(from, bytes.data(), bytes.size());
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return fail_errno("Cannot read the picture", errno);
        if (size == 0) return {};
        SWEDE_TRY(write_all(to, name, std::span(bytes).first(static_cast<size_t>(size))));
    }
}

}  // namespace

Result<Reply> ask(const std::string& socket_path, const nlohmann::json& request) {
    const UniqueFd socket = SWEDE_TRY(connect_unix(socket_path));
    const timeval patience{kPatience, 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    SWEDE_TRY(write_all(socket.get(), socket_path, request.dump() + "\n"));
    Reply reply;
    const std::string line = SWEDE_TRY(read_line(socket.get(), reply.file));
    nlohmann::json answer = nlohmann::json::parse(line, nullptr, false);
    if (answer.is_object() && answer.contains("error") && answer["error"].is_string())
        return fail(ErrorCode::kUnspecified, "{}", answer["error"].get<std::string>());
    if (!answer.is_object() || !answer.contains("return"))
        return fail(ErrorCode::kProtocol, "{} answers, but is no control socket of swede.",
                    socket_path);
    reply.value = std::move(answer["return"]);
    return reply;
}

Result<void> save_screenshot(const std::string& socket_path, uint32_t output,
                             const std::string& file) {
    const Reply reply =
        SWEDE_TRY(ask(socket_path, {{"command", "screenshot"}, {"output", output}}));
    if (!reply.file) return fail(ErrorCode::kProtocol, "The device answered without a picture.");
    if (file == "-") return copy(reply.file.get(), STDOUT_FILENO, "standard output");
    const UniqueFd to(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!to) return fail_errno(fmt::format("Cannot write to {}", file), errno);
    return copy(reply.file.get(), to.get(), file);
}

}  // namespace swede::control_client
