// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/context.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "cross_domain/compositor.h"
#include "cross_domain/image_requirements.h"
#include "wire/virtio_gpu.h"

namespace swede::cross_domain {
namespace {

log::Module log_("cross_domain");

using namespace wire::cross_domain;
using rutabaga::ContextId;
using rutabaga::ResourceId;

/// What is kept for an image that a guest asked about, counted as host memory.
constexpr uint64_t kTemplateCost = 256;

}  // namespace

Context::Context(ContextId id, const Options& options, Reactor& reactor,
                 std::shared_ptr<rutabaga::CompletionSink> sink, std::shared_ptr<Budget> budget)
    : id_(id),
      options_(options),
      sink_(std::move(sink)),
      budget_(std::move(budget)),
      channel_(std::make_shared<Channel>(id, reactor, sink_, budget_)) {}

void Context::attach(ResourceId resource, Attachment attachment) {
    attached_.insert_or_assign(resource, std::move(attachment));
}

Result<void> Context::submit(std::span<const std::byte> commands) {
    while (!commands.empty()) {
        const auto header = SWEDE_TRY(ByteReader(commands).read<Header>());
        if (header.size < sizeof(Header) || header.size > commands.size())
            return fail(ErrorCode::kInvalidParameter,
                        "A cross-domain command of {} bytes is not in the {} that are left.",
                        header.size, commands.size());
        SWEDE_TRY(execute(commands.first(header.size)));
        commands = commands.subspan(header.size);
    }
    return {};
}

Result<void> Context::execute(std::span<const std::byte> command) {
    const auto type = static_cast<Command>(std::to_integer<uint8_t>(command.front()));
    switch (type) {
        case Command::kInit:
            return init(command);
        case Command::kGetImageRequirements:
            return get_image_requirements(command);
        case Command::kPoll:
            polled_ = true;  // the fence that comes with it is what counts
            return {};
        case Command::kSend:
            return send(command);
        case Command::kWrite:
            return write(command);
        case Command::kReadCreateEvent:
            return channel_->read_event(
                SWEDE_TRY(ByteReader(command).read<ReadCreateEvent>()).identifier);
        case Command::kReceive:
        case Command::kRead:
            break;
    }
    return fail(ErrorCode::kUnsupported, "Cross-domain command {} is not known.",
                static_cast<uint32_t>(type));
}

// --- INIT ---

Result<std::shared_ptr<Backing>> Context::ring_of(ResourceId resource, uint64_t size) {
    const auto found = attached_.find(resource);
    if (found == attached_.end() || !found->second.backing)
        return fail(ErrorCode::kInvalidResource,
                    "Ring {} is no guest memory that context {} has attached.", resource, id_);
    if (found->second.backing->size() < size || !found->second.backing->writable())
        return fail(ErrorCode::kInvalidParameter, "Ring {} has {} bytes, not {}.", resource,
                    found->second.backing->size(), size);
    return found->second.backing;
}

Result<void> Context::init(std::span<const std::byte> command) {
    if (connected_) return fail(ErrorCode::kExists, "Context {} is connected.", id_);
    ByteReader reader(command);
    static_cast<void>(SWEDE_TRY(reader.read<Header>()));
    const uint32_t query = SWEDE_TRY(reader.read<uint32_t>());
    uint32_t channel = query;
    Dialect dialect;
    switch (command.size()) {
        case kInitSizeOneRing:
            break;
        case kInitSizeLibkrun:
            dialect.event_type = static_cast<uint32_t>(IdentifierType::kEventLibkrun);
            channel = SWEDE_TRY(reader.read<uint32_t>());
            break;
        case kInitSizeSocket:
            dialect.event_type = static_cast<uint32_t>(IdentifierType::kEvent);
            channel = SWEDE_TRY(reader.read<uint32_t>());
            break;
        case kInitSizeTwoRings:
            channel = SWEDE_TRY(reader.read<uint32_t>());
            break;
        default:
            return fail(ErrorCode::kInvalidParameter, "An INIT of {} bytes is not known.",
                        command.size());
    }
    const auto type = static_cast<ChannelType>(SWEDE_TRY(reader.read<uint32_t>()));
    if (type != ChannelType::kWayland && dialect.event_type == 0)
        dialect.event_type = static_cast<uint32_t>(IdentifierType::kEvent);

    query_ring_ = SWEDE_TRY(ring_of(query, sizeof(ImageRequirements)));
    dialect_ = dialect;
    if (type == ChannelType::kNone) {
        connected_ = true;
        return {};
    }
    const auto found = std::ranges::find(options_.channels, type, &ChannelPath::type);
    if (found == options_.channels.end())
        return fail(ErrorCode::kUnsupported, "Channels of type {} are not offered.",
                    static_cast<uint32_t>(type));
    channel_->set_dialect(dialect_);
    channel_->set_ring(SWEDE_TRY(ring_of(channel, kMaxMessage)));

    // Looked for each time: a compositor may have started, or started again, since.
    Result<std::string> path =
        found->path.empty() ? find_compositor() : Result<std::string>(found->path);
    Result<UniqueFd> socket = path ? connect_to(*path) : std::unexpected(std::move(path).error());
    if (!socket) {
        log_.warn("Context {} gets no connection: {}", id_, socket.error().message);
        // The guest's program does not hear of the error: its fence tells it, by the end of the
        // stream. It may try again.
        channel_->refuse();
        return std::unexpected(std::move(socket).error());
    }
    connected_ = true;
    channel_->connect(*std::move(socket));
    return {};
}

// --- images and blobs ---

Result<ImageRequirements> Context::lay_out(const GetImageRequirements& image) const {
    ImageRequirements requirements = SWEDE_TRY(image_requirements(image));
    if (options_.images && !is_pool(image)) {
        // A driver tells by making one, which is the guest's for as long.
        const Budget::Charge tried =
            SWEDE_TRY(budget_->charge(BudgetKind::kHostBytes, requirements.size));
        return options_.images->requirements(image);
    }
    requirements.map_info = kOwnMapInfo;
    return requirements;
}

Result<void> Context::get_image_requirements(std::span<const std::byte> command) {
    const auto request = SWEDE_TRY(ByteReader(command).read<GetImageRequirements>());
    if (!query_ring_)
        return fail(ErrorCode::kInvalidParameter, "Context {} has no query ring yet.", id_);
    const std::array<uint32_t, 4> key{request.width, request.height, request.drm_fourcc,
                                      request.flags};
    auto found = images_.find(key);
    if (found == images_.end()) {
        ImageTemplate made{{request, SWEDE_TRY(lay_out(request))}, {}};
        ImageRequirements requirements = made.image.requirements;
        made.charge = SWEDE_TRY(budget_->charge(BudgetKind::kHostBytes, kTemplateCost));
        requirements.blob_id = SWEDE_TRY(channel_->add_template(std::move(made)));
        found = images_.emplace(key, requirements).first;
    }
    return query_ring_->write(0, bytes_of(found->second));
}

Result<HostBlob::Adopted> Context::create_blob(const rutabaga::BlobRequest& request) {
    if (request.blob_mem != wire::kBlobMemHost3d)
        return fail(ErrorCode::kUnsupported, "Blobs of memory type {} are not made here.",
                    request.blob_mem);
    if (request.blob_id > ~uint32_t{0})
        return fail(ErrorCode::kInvalidParameter, "There is no blob {:#x}.", request.blob_id);
    auto source = SWEDE_TRY(channel_->take_blob(static_cast<uint32_t>(request.blob_id)));
    const auto shown = options_.window ? HostBlob::Shown::kInWindow : HostBlob::Shown::kItself;
    if (auto* const file = std::get_if<ReceivedFile>(&source))
        return HostBlob::adopt(std::move(*file), request.size, shown, budget_);
    const Image& image = std::get<Image>(source);
    const uint64_t size = image.requirements.size;
    if (request.size != size)
        return fail(ErrorCode::kInvalidParameter, "Image {} takes {} bytes, not {}.",
                    request.blob_id, size, request.size);
    if (options_.window || !options_.images || is_pool(image.request)) {
        return HostBlob::Adopted{SWEDE_TRY(HostBlob::create(size, shown, budget_)), {}};
    }
    ImageMemory memory = SWEDE_TRY(options_.images->allocate(image.request, image.requirements));
    const bool to_clear = !memory.blank;
    return HostBlob::Adopted{SWEDE_TRY(HostBlob::of_image(std::move(memory), size,
                                                          image.requirements.map_info, budget_)),
                             {},
                             to_clear};
}

// --- the channel ---

/// The file that an identifier stands for, at the end of files_.
Result<void> Context::add_file(uint32_t identifier, uint32_t type) {
    OutgoingFile file;
    switch (static_cast<IdentifierType>(type)) {
        case IdentifierType::kVirtgpuBlob: {
            const auto found = attached_.find(identifier);
            if (found == attached_.end())
                return fail(ErrorCode::kInvalidResource,
                            "Context {} has no resource {} attached to send.", id_, identifier);
            const Attachment& attachment = found->second;
            file.fd = attachment.blob ? attachment.blob->sent_fd() : attachment.foreign.get();
            if (file.fd < 0)
                return fail(ErrorCode::kInvalidResource,
                            "Resource {} is no memory that the host could share.", identifier);
            break;
        }
        case IdentifierType::kReadPipe: {
            std::array<int, 2> ends{};
            if (::pipe2(ends.data(), O_CLOEXEC) != 0)
                return fail_errno("Cannot create a pipe", errno);
            pipes_.push_back({identifier, UniqueFd(ends[0])});
            file.owned = UniqueFd(ends[1]);
            // The peer's end alone waits, as programs expect.
            if (::fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0)
                return fail_errno("Cannot set up a pipe", errno);
            file.fd = file.owned.get();
            break;
        }
        default:
            return fail(ErrorCode::kUnsupported, "Identifiers of type {} cannot be sent.", type);
    }
    files_.push_back(std::move(file));
    return {};
}

Result<void> Context::send(std::span<const std::byte> command) {
    const auto head = SWEDE_TRY(ByteReader(command).read<SendReceive>());
    if (head.opaque_size > command.size())
        return fail(ErrorCode::kInvalidParameter, "{} bytes are announced in a SEND of {}.",
                    head.opaque_size, command.size());
    if (!dialect_.max_identifiers_known) {
        // The only thing that tells the dialects apart: how much lies before the bytes.
        const size_t before = command.size() - head.opaque_size;
        if (before != send_receive_size(kFewIdentifiers) &&
            before < send_receive_size(kManyIdentifiers))
            return fail(ErrorCode::kInvalidParameter,
                        "{} bytes before those of a SEND are neither of 4 nor of 28 identifiers.",
                        before);
        dialect_.max_identifiers =
            before == send_receive_size(kFewIdentifiers) ? kFewIdentifiers : kManyIdentifiers;
        dialect_.max_identifiers_known = true;
        channel_->set_dialect(dialect_);
    }
    const uint32_t max = dialect_.max_identifiers;
    ByteReader reader(command);
    const auto arrays =
        SWEDE_TRY(reader.read_bytes(send_receive_size(max))).subspan(sizeof(SendReceive));
    const auto bytes = SWEDE_TRY(reader.read_bytes(head.opaque_size));
    if (head.num_identifiers > max)
        return fail(ErrorCode::kInvalidParameter, "A SEND has {} identifiers at most, not {}.", max,
                    head.num_identifiers);
    const auto word = [&](size_t index) {
        uint32_t value;
        std::memcpy(&value, arrays.data() + index * sizeof(value), sizeof(value));
        return value;
    };
    Result<void> result;
    for (uint32_t i = 0; i < head.num_identifiers && result; ++i)
        result = add_file(word(i), word(max + i));
    for (NewPipe& pipe : pipes_)
        if (result) result = channel_->add_read_pipe(pipe.id, std::move(pipe.read_end));
    if (result) result = channel_->send(bytes, files_);
    files_.clear();  // our write ends close: the guest sees the end when the host's peer is done
    pipes_.clear();
    return result;
}

Result<void> Context::write(std::span<const std::byte> command) {
    ByteReader reader(command);
    const auto head = SWEDE_TRY(reader.read<ReadWrite>());
    const auto bytes = SWEDE_TRY(reader.read_bytes(head.opaque_size));
    return channel_->write(head.identifier, bytes, head.hang_up != 0);
}

void Context::create_fence(const rutabaga::Fence& fence) {
    if (fence.ring == kChannelRing && std::exchange(polled_, false))
        return channel_->ask_for_message(fence.ticket);
    sink_->fence_done(fence.ticket);  // what was submitted before was executed then
}

}  // namespace swede::cross_domain
