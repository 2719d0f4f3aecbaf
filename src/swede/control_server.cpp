// SPDX-License-Identifier: Apache-2.0
#include "swede/control_server.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/log.h"

namespace swede {
namespace {

log::Module log_("control");

using nlohmann::json;

/// A client that leaves a reply unread for so long is dropped.
constexpr auto kPatience = std::chrono::seconds(10);
constexpr auto kAcceptRetry = std::chrono::seconds(1);
constexpr size_t kReadSize = 4096;                // bytes
constexpr size_t kMaxUnsent = size_t{64} * 1024;  // bytes; replies are a few hundred
constexpr uint32_t kMaxEdge = kMaxOutputEdge;

std::string line_of(const json& reply) {
    return reply.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string error_line(const Error& error) {
    return line_of({{"error", error.message}});
}

Result<json> parse_request(std::string_view line) {
    json request = json::parse(line, nullptr, false);
    if (request.is_discarded())
        return fail(ErrorCode::kProtocol, "The line is not JSON: \"{}\".", log::escaped(line));
    if (!request.is_object() || !request.contains("command") || !request["command"].is_string())
        return fail(ErrorCode::kProtocol,
                    "The request has no \"command\": it is an object with one, such as "
                    "{{\"command\": \"info\"}}.");
    return request;
}

/// Refuses keys that nobody would read.
Result<void> check_keys(const json& request, std::initializer_list<std::string_view> accepted) {
    std::string list;
    for (const std::string_view key : accepted) list += fmt::format(", \"{}\"", key);
    for (const auto& item : request.items())
        if (item.key() != "command" && std::ranges::find(accepted, item.key()) == accepted.end())
            return fail(ErrorCode::kProtocol, "\"{}\" is no key of {}: accepted are \"command\"{}.",
                        log::escaped(item.key()), request["command"].get_ref<const std::string&>(),
                        list);
    return {};
}

Result<uint32_t> number_of(const json& request, const char* key, uint32_t min, uint32_t max) {
    const auto found = request.find(key);
    if (found == request.end())
        return fail(ErrorCode::kProtocol, "\"{}\" is missing: accepted is a number from {} to {}.",
                    key, min, max);
    if (!found->is_number_unsigned() || found->get<uint64_t>() < min ||
        found->get<uint64_t>() > max)
        return fail(ErrorCode::kProtocol,
                    "\"{}\" {} is not possible: accepted is a number from {} to {}.", key,
                    log::escaped(found->dump(-1, ' ', true, json::error_handler_t::replace)), min,
                    max);
    return found->get<uint32_t>();
}

Result<uint32_t> output_of(const json& request) {
    return number_of(request, "output", 0, wire::kMaxScanouts - 1);
}

}  // namespace

/// One connection of a `swede control`.
struct ControlServer::Client {
    Client(ControlServer& server, uint64_t number, UniqueFd fd)
        : id(number),
          // Only its sending half is used: lines have no header to read ahead.
          socket(std::move(fd), {1, 0, 0, kMaxUnsent},
                 [](std::span<const std::byte>) -> Result<uint64_t> { return 0; }),
          impatience(server.loop_, [&server, number] {
              log_.info("A control client does not take its replies: it is dropped.");
              server.clients_.erase(server.clients_.find(number));  // and this function with it
          }) {}

    uint64_t id;
    MessageSocket socket;
    std::string input;  ///< read and not yet answered
    bool waits_for_picture = false;
    bool ended = false;           ///< the peer sends no more, or is to be dropped after its reply
    EventLoop::Timer impatience;  ///< armed while a reply is unsent
    EventLoop::Watch watch;       ///< dies before the socket
};

Result<std::unique_ptr<ControlServer>> ControlServer::create(EventLoop& loop, UniqueFd listener,
                                                             DeviceState& state) {
    std::unique_ptr<ControlServer> server(new ControlServer(loop, std::move(listener), state));
    server->watch_ = SWEDE_TRY(loop.watch(server->listener_.get(), EPOLLIN,
                                          [self = server.get()](uint32_t) { self->accept(); }));
    return server;
}

ControlServer::ControlServer(EventLoop& loop, UniqueFd listener, DeviceState& state)
    : loop_(loop),
      listener_(std::move(listener)),
      state_(state),
      retry_(loop, [this] { watch_.set_events(EPOLLIN); }),
      self_(std::make_shared<ControlServer*>(this)) {}

ControlServer::~ControlServer() = default;

void ControlServer::accept() {
    auto accepted = accept_unix(listener_.get());
    if (!accepted) {
        // Most likely out of fds: the connection stays in the backlog, so look again later.
        log_.warn("{}", accepted.error().message);
        watch_.set_events(0);
        if (!retry_.arm(kAcceptRetry)) watch_.set_events(EPOLLIN);
        return;
    }
    if (!*accepted) return;
    const uint64_t id = next_id_++;
    auto client = std::make_unique<Client>(*this, id, *std::move(accepted));
    if (clients_.size() >= kMaxClients) {
        const auto refusal =
            error_line({ErrorCode::kOutOfMemory,
                        fmt::format("{} control clients are connected already.", kMaxClients)});
        if (!client->socket.send(std::as_bytes(std::span(refusal))))
            log_.debug("A client that is one too many has gone before it was told.");
        return;  // and it is closed
    }
    auto watch =
        loop_.watch(client->socket.fd(), EPOLLIN,
                    [this, client = client.get()](uint32_t events) { on_event(*client, events); });
    if (!watch) {
        log_.warn("{}", watch.error().message);
        return;
    }
    client->watch = *std::move(watch);
    clients_.emplace(id, std::move(client));
}

void ControlServer::on_event(Client& client, uint32_t events) {
    const bool gone = (events & (EPOLLHUP | EPOLLERR)) != 0;
    if (gone && (events & EPOLLIN) == 0) {
        clients_.erase(client.id);
        return;
    }
    if ((events & EPOLLOUT) != 0 && !client.socket.flush()) {
        clients_.erase(client.id);
        return;
    }
    if ((events & EPOLLIN) != 0 && !read(client)) {
        clients_.erase(client.id);
        return;
    }
    serve(client);
}

bool ControlServer::read(Client& client) {
    std::array<char, kReadSize> bytes;
    const ssize_t size = ::recv(client.socket.fd(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    if (size == 0)
        client.ended = true;
    else
        client.input.append(bytes.data(), static_cast<size_t>(size));
    return true;
}

void ControlServer::serve(Client& client) {
    size_t answered = 0;  // bytes
    while (!client.waits_for_picture && client.socket.unsent() == 0) {
        const size_t end = client.input.find('\n', answered);
        if (end == std::string::npos || end - answered > kMaxLine) break;
        answer_line(client, std::string_view(client.input).substr(answered, end - answered));
        answered = end + 1;
    }
    client.input.erase(0, answered);
    const bool busy = client.waits_for_picture || client.socket.unsent() != 0;
    if (!busy && !client.ended && client.input.size() > kMaxLine) {
        client.input.clear();
        client.ended = true;
        send(client, {error_line({ErrorCode::kProtocol,
                                  fmt::format("A line is longer than {} bytes.", kMaxLine)}),
                      UniqueFd()});
    }
    if (client.ended && !client.waits_for_picture && client.socket.unsent() == 0) {
        clients_.erase(client.id);
        return;
    }
    if (client.socket.unsent() != 0) {
        client.watch.set_events(EPOLLOUT);
        if (!client.impatience.arm(kPatience)) clients_.erase(client.id);
        return;
    }
    client.impatience.disarm();
    const bool reads = !client.waits_for_picture && !client.ended;
    client.watch.set_events(reads ? uint32_t{EPOLLIN} : 0);
}

void ControlServer::answer_line(Client& client, std::string_view line) {
    // Empty: the reply comes later.
    const auto serve_request = [&]() -> Result<std::optional<json>> {
        const json request = SWEDE_TRY(parse_request(line));
        const std::string& command = request["command"].get_ref<const std::string&>();
        if (command == "info") {
            SWEDE_TRY(check_keys(request, {}));
            return state_.info();
        }
        if (command == "resize") {
            SWEDE_TRY(check_keys(request, {"output", "width", "height"}));
            const uint32_t output = SWEDE_TRY(output_of(request));
            const uint32_t width = SWEDE_TRY(number_of(request, "width", 1, kMaxEdge));
            const uint32_t height = SWEDE_TRY(number_of(request, "height", 1, kMaxEdge));
            SWEDE_TRY(state_.resize(output, width, height));
            return json::object();
        }
        if (command == "plug" || command == "unplug") {
            SWEDE_TRY(check_keys(request, {"output"}));
            const uint32_t output = SWEDE_TRY(output_of(request));
            SWEDE_TRY(state_.set_connected(output, command == "plug"));
            return json::object();
        }
        if (command == "screenshot") {
            SWEDE_TRY(check_keys(request, {"output"}));
            take_screenshot(client, SWEDE_TRY(output_of(request)));
            return std::nullopt;
        }
        return fail(ErrorCode::kUnsupported,
                    "\"{}\" is no command: accepted are info, screenshot, resize, plug and unplug.",
                    log::escaped(command));
    };
    const Result<std::optional<json>> result = serve_request();
    if (!result) {
        send(client, {error_line(result.error()), UniqueFd()});
        return;
    }
    if (const std::optional<json>& value = *result)
        send(client, {line_of({{"return", *value}}), UniqueFd()});
}

void ControlServer::take_screenshot(Client& client, uint32_t output) {
    client.waits_for_picture = true;
    // The answer comes from the encoder's thread, perhaps after the client, or this server, has
    // gone.
    state_.screenshot(output, [&loop = loop_, id = client.id,
                               server = std::weak_ptr(self_)](Result<UniqueFd> picture) {
        loop.post([id, server, picture = std::move(picture)]() mutable {
            const auto self = server.lock();
            if (!self) return;
            ControlServer& control = **self;
            const auto found = control.clients_.find(id);
            if (found == control.clients_.end()) return;
            Client& asked = *found->second;
            asked.waits_for_picture = false;
            if (picture)
                control.send(asked, {line_of({{"return", json::object()}}), *std::move(picture)});
            else
                control.send(asked, {error_line(picture.error()), UniqueFd()});
            control.serve(asked);
        });
    });
}

void ControlServer::send(Client& client, const Reply& reply) {
    const int file = reply.file.get();
    const auto sent = client.socket.send(std::as_bytes(std::span(reply.line)),
                                         std::span(&file, reply.file ? 1 : 0));
    if (sent) return;
    client.ended = true;  // the connection is broken
}

}  // namespace swede
