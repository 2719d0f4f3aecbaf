// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/channel.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "base/file_closer.h"
#include "base/log.h"
#include "cross_domain/stream_socket.h"

namespace swede::cross_domain {
namespace {

log::Module log_("cross_domain");

using namespace wire::cross_domain;
using rutabaga::ContextId;

/// Kept for a host that does not read. A compositor that stops for a while has whole frames of
/// requests waiting, which are small; one that takes no more is dead.
constexpr size_t kMaxUnsentBytes = size_t{4} << 20;
constexpr size_t kMaxUnsentFiles = 1024;
/// Small messages share an entry up to this size: an entry goes once all of it is sent, so one that
/// always grew would never go.
constexpr size_t kUnsentEntry = 64 << 10;

using Message = std::array<std::byte, kMaxMessage>;

}  // namespace

Channel::Channel(ContextId context, Reactor& reactor,
                 std::shared_ptr<rutabaga::CompletionSink> sink, std::shared_ptr<Budget> budget)
    : context_(context), reactor_(reactor), sink_(std::move(sink)), budget_(std::move(budget)) {}

// --- the connection ---

void Channel::set_ring(std::shared_ptr<Backing> ring) {
    const std::scoped_lock lock(mutex_);
    ring_ = std::move(ring);
}

void Channel::set_dialect(const Dialect& dialect) {
    const std::scoped_lock lock(mutex_);
    dialect_ = dialect;
}

void Channel::connect(UniqueFd socket) {
    auto charge = budget_->charge(BudgetKind::kFiles, 1);
    if (!charge || files_to_close() > kMostFilesToClose) {
        hang_up(std::move(socket));
        return end(charge ? "too many files of peers wait to be closed"
                          : std::string_view(charge.error().message));
    }
    const std::scoped_lock lock(mutex_);
    dead_ = false;
    deaf_ = false;
    readable_ = false;
    socket_ = std::make_shared<WatchedFd>(reactor_, PeerFile(std::move(socket), *std::move(charge)),
                                          [weak = weak_from_this()](uint32_t events) {
                                              if (const auto self = weak.lock())
                                                  self->on_socket(events);
                                          });
    update_interest();
}

void Channel::end(std::string_view why) {
    {
        const std::scoped_lock lock(mutex_);
        end_locked(why);
    }
    static_cast<void>(serve());
}

/// Every way in which a channel dies comes here: from now on the guest reads the end of the stream.
void Channel::end_locked(std::string_view why) {
    if (closed_) return;
    if (!dead_) log_.info("The channel of context {} ends: {}", context_, why);
    dead_ = true;
    if (socket_) socket_->stop();
    socket_.reset();
    drop_unsent();
}

void Channel::drop_unsent() {
    unsent_.clear();
    unsent_bytes_ = 0;
    unsent_files_ = 0;
}

/// A compositor tells why it closes, and the guest may send before it reads that. So the socket
/// stays until reading comes to the end, which is looked for at once.
void Channel::end_sending(std::string_view why) {
    if (!deaf_) log_.info("The host takes nothing more from context {}: {}", context_, why);
    deaf_ = true;
    readable_ = true;
    drop_unsent();
}

void Channel::close() {
    const std::scoped_lock lock(mutex_);
    end_locked("the context is destroyed");
    closed_ = true;
    asking_.clear();
    drop_parts();
    reading_.clear();
    items_.for_each_pipe([](HostPipe& pipe) {
        if (pipe.fd) pipe.fd->stop();
    });
    items_.clear();
    ring_.reset();
}

void Channel::update_interest() {
    if (!socket_) return;
    uint32_t events = 0;
    if (!readable_) events |= EPOLLIN;
    if (!unsent_.empty()) events |= EPOLLOUT;
    socket_->want(events);
}

void Channel::on_socket(uint32_t events) {
    {
        const std::scoped_lock lock(mutex_);
        if (!is_live()) return;
        if ((events & EPOLLOUT) != 0) flush();
        // Both directions are over: who waits for room would wait for ever, and be told of it each
        // time. With nothing waiting the next SEND finds out.
        if ((events & (EPOLLHUP | EPOLLERR)) != 0 && !unsent_.empty()) end_sending("it has closed");
        if ((events & ~uint32_t{EPOLLOUT}) != 0) readable_ = true;
    }
    const bool served = serve();
    const std::scoped_lock lock(mutex_);
    // A fence took what came: if there is more, epoll tells again. Else nobody asks, and we pause.
    if (served) readable_ = false;
    update_interest();
}

bool Channel::serve() {
    for (bool served = false;; served = true) {
        std::optional<uint64_t> ticket;
        {
            const std::scoped_lock lock(mutex_);
            if (closed_) return served;
            ticket = deliver();
        }
        if (!ticket) return served;
        sink_->fence_done(*ticket);  // outside the lock: a sink may call the VMM, and that us
    }
}

// --- guest to host ---

Result<void> Channel::send(std::span<const std::byte> bytes, std::vector<OutgoingFile>& files) {
    bool over = false;
    {
        const std::scoped_lock lock(mutex_);
        if (!takes_bytes())
            return fail(ErrorCode::kClosed, "Context {} has no connection to send to.", context_);
        if (bytes.empty()) {
            if (files.empty()) return {};
            return fail(ErrorCode::kInvalidParameter, "{} files come without a byte.",
                        files.size());
        }
        size_t sent = 0;
        if (unsent_.empty()) {
            std::array<int, kManyIdentifiers> fds;
            const size_t count = std::min(files.size(), fds.size());
            for (size_t i = 0; i < count; ++i) fds[i] = files[i].fd;
            auto result = send_some(socket_->fd(), bytes, std::span(fds).first(count));
            if (result)
                sent = *result;
            else
                end_sending(result.error().message);
            if (sent == bytes.size()) return {};
        }
        if (takes_bytes())
            keep(bytes.subspan(sent), sent == 0 ? std::span(files) : std::span<OutgoingFile>());
        update_interest();
        over = !takes_bytes();
    }
    if (over) static_cast<void>(serve());
    return {};
}

/// Queues what the socket did not take.
void Channel::keep(std::span<const std::byte> bytes, std::span<OutgoingFile> files) {
    if (unsent_bytes_ + bytes.size() > kMaxUnsentBytes ||
        unsent_files_ + files.size() > kMaxUnsentFiles)
        return end_locked(fmt::format("{} bytes and {} files wait and the host does not read",
                                      unsent_bytes_, unsent_files_));
    // Not to one with files, whose bytes stay a piece of their own for who reads.
    const bool joins = files.empty() && !unsent_.empty() && unsent_.back().files.empty() &&
                       unsent_.back().bytes.size() + bytes.size() <= kUnsentEntry;
    auto charge =
        budget_->charge(BudgetKind::kHostBytes, bytes.size() + (joins ? 0 : sizeof(Unsent)));
    if (!charge) return end_locked(charge.error().message);
    if (joins) {
        Unsent& last = unsent_.back();
        last.bytes.insert(last.bytes.end(), bytes.begin(), bytes.end());
        last.charge.add(*std::move(charge));
        unsent_bytes_ += bytes.size();
        return;
    }
    auto files_charge = budget_->charge(BudgetKind::kFiles, files.size());
    if (!files_charge) return end_locked(files_charge.error().message);
    Unsent unsent;
    unsent.bytes.assign(bytes.begin(), bytes.end());
    for (OutgoingFile& file : files) {
        UniqueFd fd =
            file.owned ? std::move(file.owned) : UniqueFd(::fcntl(file.fd, F_DUPFD_CLOEXEC, 0));
        if (!fd) return end_locked("no file descriptor is left");
        unsent.files.push_back(std::move(fd));
    }
    unsent.charge = *std::move(charge);
    unsent.files_charge = *std::move(files_charge);
    unsent_bytes_ += bytes.size();
    unsent_files_ += files.size();
    unsent_.push_back(std::move(unsent));
}

void Channel::flush() {
    while (takes_bytes() && !unsent_.empty()) {
        Unsent& unsent = unsent_.front();
        std::array<int, kManyIdentifiers> fds;
        for (size_t i = 0; i < unsent.files.size(); ++i) fds[i] = unsent.files[i].get();
        const auto sent = send_some(socket_->fd(), std::span(unsent.bytes).subspan(unsent.sent),
                                    std::span(fds).first(unsent.files.size()));
        if (!sent) return end_sending(sent.error().message);
        if (*sent == 0) return;
        unsent_files_ -= unsent.files.size();
        unsent.files.clear();
        unsent.sent += *sent;
        unsent_bytes_ -= *sent;
        if (unsent.sent == unsent.bytes.size()) unsent_.pop_front();
    }
}

// --- host to guest ---

void Channel::ask_for_message(uint64_t ticket) {
    bool taken = false;
    {
        const std::scoped_lock lock(mutex_);
        // Without a ring there is nothing to wait for: the fence must not stay out for ever.
        taken = !closed_ && ring_;
        if (taken) asking_.push_back(ticket);
        // The guests that we know ask for one at a time.
        if (asking_.size() > kMostAsking) end_locked("the guest asks for too many messages");
    }
    if (!taken) return sink_->fence_done(ticket);
    serve_and_listen();
}

void Channel::set_paused(bool paused) {
    {
        const std::scoped_lock lock(mutex_);
        paused_ = paused;
    }
    if (!paused) serve_and_listen();
}

void Channel::serve_and_listen() {
    static_cast<void>(serve());
    const std::scoped_lock lock(mutex_);
    update_interest();
}

std::optional<uint64_t> Channel::deliver() {
    if (asking_.empty() || paused_ || !next_message()) return std::nullopt;
    const uint64_t ticket = asking_.front();
    asking_.erase(asking_.begin());
    return ticket;
}

/// What the host's peer said before comes before the end; a paste waits for both.
bool Channel::next_message() {
    if (!part_files_.empty() || part_taken_ < part_bytes_.size()) return next_part();
    const bool paste = std::ranges::any_of(reading_, [this](uint32_t id) {
        const auto pipe = items_.pipe(id);
        return pipe && pipe->readable;
    });
    // Before a paste and before the end we look ourselves: the reactor may not have told yet.
    if (is_live() && (readable_ || paste) && receive()) return true;
    if ((paste || dead_) && read_pipes()) return true;
    if (!dead_) return false;
    const SendReceive end{{static_cast<uint8_t>(Command::kReceive), 0, 0, 0}, 0, 0};
    write_ring(bytes_of(end));
    return true;
}

bool Channel::receive() {
    Message message;
    const uint32_t start = send_receive_size(dialect_.max_identifiers);
    const auto received = receive_some(socket_->fd(), std::span(message).subspan(start), received_);
    if (!received) {
        drop_received();
        end_locked(received.error().message);
        return false;
    }
    if (!*received) {
        readable_ = false;
        update_interest();
        return false;
    }
    const size_t size = **received;
    if (size == 0) {
        end_locked("the host closed it");
        return false;
    }
    auto charge = budget_->charge(BudgetKind::kFiles, received_.size());
    if (!charge) {
        drop_received();
        end_locked(charge.error().message);
        return false;
    }
    received_charge_.add(*std::move(charge));
    if (received_.size() > dialect_.max_identifiers) {
        const auto bytes = std::span(message).subspan(start, size);
        part_bytes_.assign(bytes.begin(), bytes.end());
        part_taken_ = 0;
        std::ranges::move(received_, std::back_inserter(part_files_));
        received_.clear();
        return next_part();
    }
    write_receive(message, size, received_);
    drop_received();
    return true;
}

/// A message of more files than fit one: the rest of them, with bytes left over for those after,
/// since files without bytes would be read as the end of the stream.
bool Channel::next_part() {
    const size_t max = dialect_.max_identifiers;
    const size_t count = std::min(part_files_.size(), max);
    const size_t after = (part_files_.size() - count + max - 1) / max;  // messages
    const size_t bytes = part_bytes_.size() - part_taken_;
    if (bytes <= after) {
        drop_parts();
        end_locked("the host sent more files than bytes");
        return next_message();
    }
    Message message;
    const size_t now = bytes - after;
    std::memcpy(message.data() + send_receive_size(dialect_.max_identifiers),
                part_bytes_.data() + part_taken_, now);
    part_taken_ += now;
    for (size_t i = 0; i < count; ++i) {
        received_.push_back(std::move(part_files_.front()));
        part_files_.pop_front();
    }
    write_receive(message, now, received_);
    drop_received();
    if (part_files_.empty()) drop_parts();
    return true;
}

/// A peer's file is closed elsewhere until it is known what it is.
void Channel::close_received(UniqueFd file) {
    if (file) close_elsewhere(std::move(file), received_charge_.split(1));
}

/// Those that got no identifier.
void Channel::drop_received() {
    for (UniqueFd& file : received_) close_received(std::move(file));
    received_.clear();
}

void Channel::drop_parts() {
    for (UniqueFd& file : part_files_) close_received(std::move(file));
    part_files_.clear();
    part_bytes_.clear();
    part_taken_ = 0;
}

/// `message` has its bytes in place; the arrays and the head are written here.
void Channel::write_receive(std::span<std::byte> message, size_t bytes, std::span<UniqueFd> files) {
    const uint32_t max = dialect_.max_identifiers;
    const uint32_t start = send_receive_size(max);
    std::memset(message.data(), 0, start);
    SendReceive head{};
    head.header.command = static_cast<uint8_t>(Command::kReceive);
    head.num_identifiers = static_cast<uint32_t>(files.size());
    head.opaque_size = static_cast<uint32_t>(bytes);
    std::memcpy(message.data(), &head, sizeof(head));
    for (size_t i = 0; i < files.size(); ++i) {
        std::array<uint32_t, 3> entry{};  // id, type, size
        if (auto result = identify(std::move(files[i]), entry[0], entry[1], entry[2]); !result) {
            // The guest counts the files of its stream: with one missing all after it are wrong.
            drop_parts();
            end_locked(result.error().message);
            const SendReceive end{{static_cast<uint8_t>(Command::kReceive), 0, 0, 0}, 0, 0};
            return write_ring(bytes_of(end));
        }
        for (size_t array = 0; array < entry.size(); ++array)
            std::memcpy(message.data() + sizeof(head) + (array * max + i) * sizeof(uint32_t),
                        &entry[array], sizeof(uint32_t));
    }
    write_ring(message.first(start + bytes));
}

void Channel::write_ring(std::span<const std::byte> message) {
    const auto written =
        ring_ ? ring_->write(0, message) : fail(ErrorCode::kInvalidResource, "There is no ring.");
    if (!written) end_locked(written.error().message);
}

/// Gives the guest an id for what its compositor sent.
Result<void> Channel::identify(UniqueFd fd, uint32_t& id, uint32_t& type, uint32_t& size) {
    Budget::Charge charge = received_charge_.split(1);
    ReceivedFile file = look_at(std::move(fd));
    if (file.kind == FileKind::kMemory) {
        // The field has 32 bits; a guest may still make a larger blob of it.
        constexpr uint64_t kMostPages = ~uint32_t{0} & ~uint64_t{4095};
        size = static_cast<uint32_t>(std::min(file.memory.size, kMostPages));
        type = static_cast<uint32_t>(IdentifierType::kVirtgpuBlob);
        id = SWEDE_TRY(items_.add(ReceivedMemory{std::move(file), std::move(charge)}));
        return {};
    }
    // What a guest has no word for is a pipe to it, whose data goes nowhere: every guest knows what
    // to do with a pipe, and some end on a word they do not know.
    type = static_cast<uint32_t>(IdentifierType::kWritePipe);
    auto pipe = std::make_shared<HostPipe>();
    if (file.kind == FileKind::kOther) {
        close_elsewhere(std::move(file.fd), std::move(charge));
        // The id is counted too.
        pipe->charge = SWEDE_TRY(budget_->charge(BudgetKind::kFiles, 1));
        log_.warn("Context {} gets a file that no guest can use; it is a closed pipe there.",
                  context_);
        id = SWEDE_TRY(items_.add(pipe));
        return {};
    }
    pipe->charge = std::move(charge);
    pipe->is_event = file.kind == FileKind::kEvent;
    pipe->own_description = file.own_description;
    if (pipe->is_event && dialect_.event_type != 0) type = dialect_.event_type;
    id = SWEDE_TRY(items_.add(pipe));
    watch_pipe(id, pipe, std::move(file.fd));
    return {};
}

// --- items ---

Result<uint32_t> Channel::add_template(ImageTemplate image) {
    const std::scoped_lock lock(mutex_);
    return items_.add(std::move(image));
}

Result<std::variant<Image, ReceivedFile>> Channel::take_blob(uint32_t id) {
    const std::scoped_lock lock(mutex_);
    Items::Item* const item = items_.find(id);
    if (item != nullptr) {
        if (const auto* const image = std::get_if<ImageTemplate>(item)) return image->image;
        if (auto* const memory = std::get_if<ReceivedMemory>(item)) {
            ReceivedFile file = std::move(memory->file);
            items_.erase(id);
            return file;
        }
    }
    return fail(ErrorCode::kInvalidParameter, "Context {} has no memory of id {}.", context_, id);
}

}  // namespace swede::cross_domain
