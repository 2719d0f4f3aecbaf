// SPDX-License-Identifier: Apache-2.0
#include "swede/run.h"

#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "swede/cross_domain.h"
#include "swede/device_socket.h"
#include "swede/file_limit.h"
#include "swede/guest_files.h"
#include "swede/program_file.h"
#include "transports/local_socket/local_socket.h"

extern char** environ;

namespace swede {
namespace {

log::Module log_("run");

constexpr int kSignalBase = 128;
constexpr int kForwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

/// A variable's new value; what is in it already comes behind, after a colon, if wanted.
struct Setting {
    std::string name;
    std::string value;
    bool keeps_rest = false;
};

/// Our environment with the settings in it, in the form of execve().
class Environment {
  public:
    explicit Environment(const std::vector<Setting>& settings) {
        for (char** variable = environ; *variable != nullptr; ++variable) {
            const std::string_view text(*variable);
            const std::string_view name = text.substr(0, text.find('='));
            bool replaced = false;
            for (const Setting& setting : settings) replaced = replaced || setting.name == name;
            if (!replaced) texts_.emplace_back(text);
        }
        for (const Setting& setting : settings) {
            std::string text = setting.name + "=" + setting.value;
            const char* const rest =
                setting.keeps_rest ? std::getenv(setting.name.c_str()) : nullptr;
            if (rest != nullptr && rest[0] != '\0') text.append(":").append(rest);
            texts_.push_back(std::move(text));
        }
        for (std::string& text : texts_) pointers_.push_back(text.data());
        pointers_.push_back(nullptr);
    }
    [[nodiscard]] char* const* get() const { return pointers_.data(); }

  private:
    std::vector<std::string> texts_;
    std::vector<char*> pointers_;
};

Environment environment_of(const RunOptions& options, const std::string& socket) {
    std::vector<Setting> settings{{"LD_PRELOAD", options.shim, true}, {"SWEDE_SOCKET", socket}};
    if (!options.driver.empty()) {
        settings.push_back({"VK_DRIVER_FILES", options.driver});
        settings.push_back({"VK_ICD_FILENAMES", options.driver});  // loaders before 1.3.207
    }
    return Environment(settings);
}

std::vector<char*> arguments_of(const RunOptions& options) {
    std::vector<char*> arguments;
    for (const std::string& argument : options.command)
        arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    return arguments;
}

std::unexpected<Error> cannot_start(const RunOptions& options, int error) {
    return fail(ErrorCode::kUnsupported, "\"{}\" cannot be started: {}.", options.file,
                std::strerror(error));
}

/// A folder of ours alone, for the socket; removed when it dies, the socket first.
class PrivateFolder {
  public:
    [[nodiscard]] static Result<PrivateFolder> create() {
        for (const char* const variable : {"XDG_RUNTIME_DIR", "TMPDIR", ""}) {
            const char* const parent = variable[0] == '\0' ? "/tmp" : std::getenv(variable);
            if (parent == nullptr || parent[0] == '\0') continue;
            std::string path = std::string(parent) + "/swede-run.XXXXXX";
            if (::mkdtemp(path.data()) != nullptr) return PrivateFolder(std::move(path));
        }
        return fail_errno("Cannot make a folder for the socket", errno);
    }
    PrivateFolder(PrivateFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    PrivateFolder& operator=(PrivateFolder&&) = delete;
    ~PrivateFolder() {
        if (!path_.empty()) ::rmdir(path_.c_str());
    }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    explicit PrivateFolder(std::string path) : path_(std::move(path)) {}
    std::string path_;
};

/// The started program. It has the signals, the mask and the limits that we were started with, but
/// for SIGPIPE and SIGCHLD, which are as they are by default.
class RunningProgram {
  public:
    [[nodiscard]] static Result<RunningProgram> start(const RunOptions& options,
                                                      const Environment& environment,
                                                      const sigset_t& mask) {
        posix_spawnattr_t attributes;
        ::posix_spawnattr_init(&attributes);
        sigset_t defaults;
        ::sigemptyset(&defaults);
        ::sigaddset(&defaults, SIGPIPE);
        ::posix_spawnattr_setsigdefault(&attributes, &defaults);
        ::posix_spawnattr_setsigmask(&attributes, &mask);
        ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
        pid_t pid = 0;
        const int error = ::posix_spawn(&pid, options.file.c_str(), nullptr, &attributes,
                                        arguments_of(options).data(), environment.get());
        ::posix_spawnattr_destroy(&attributes);
        if (error != 0) return cannot_start(options, error);
        UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
        if (!pidfd) return fail_errno("Cannot watch the program", errno);
        return RunningProgram(pid, std::move(pidfd));
    }
    /// Readable when it has ended.
    [[nodiscard]] int fd() const { return pidfd_.get(); }
    void signal(int number) const {
        ::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
    }
    /// Its exit status as a shell tells it; it has ended.
    [[nodiscard]] int status() const {
        int status = 0;
        pid_t ended;
        do {
            ended = ::waitpid(pid_, &status, 0);
        } while (ended < 0 && errno == EINTR);
        if (ended == pid_ && WIFEXITED(status)) return WEXITSTATUS(status);
        return kSignalBase + (ended == pid_ ? WTERMSIG(status) : 0);
    }

  private:
    RunningProgram(pid_t pid, UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
    pid_t pid_;
    UniqueFd pidfd_;
};

/// The signals that are meant for the program, as an fd, for as long as it lives.
class Signals {
  public:
    [[nodiscard]] static Result<Signals> take() {
        Signals signals;
        sigset_t taken;
        ::sigemptyset(&taken);
        for (const int number : kForwarded) ::sigaddset(&taken, number);
        ::pthread_sigmask(SIG_BLOCK, &taken, &signals.before_);
        signals.fd_ = UniqueFd(::signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK));
        if (!signals.fd_) return fail_errno("Cannot wait for signals", errno);
        return signals;
    }
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] const sigset_t& before() const { return before_; }
    /// Hands what has come to the program. A terminal's signals have reached it already.
    void forward(const RunningProgram& program) const {
        signalfd_siginfo info{};
        while (::read(fd_.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info)))
            if (info.ssi_code != SI_KERNEL) program.signal(static_cast<int>(info.ssi_signo));
    }

  private:
    Signals() = default;
    sigset_t before_{};
    UniqueFd fd_;
};

Result<int> become_program(const RunOptions& options) {
    // A device that is not there is better told here than as a program without a GPU.
    SWEDE_TRY(connect_unix(options.socket));
    fmt::print(stderr, "swede run: the GPU is the device at {}\n", options.socket);
    ::execve(options.file.c_str(), arguments_of(options).data(),
             environment_of(options, options.socket).get());
    return cannot_start(options, errno);
}

}  // namespace

Result<RunOptions> check_run_arguments(const RunArguments& arguments) {
    RunOptions options;
    if (arguments.command.empty())
        return fail(ErrorCode::kInvalidParameter, "No program is given: it comes after --.");
    if (arguments.socket) {
        // Absolute: the program may go elsewhere before it opens the GPU.
        std::error_code error;
        const auto path = arguments.socket->empty()
                              ? std::filesystem::path()
                              : std::filesystem::absolute(*arguments.socket, error);
        options.socket = SWEDE_TRY(check_socket_path("--socket", path.string()));
    }
    options.gpu = SWEDE_TRY(check_gpu(arguments.gpu));
    options.cross_domain = SWEDE_TRY(check_cross_domain(arguments.cross_domain));
    if (options.cross_domain.wanted && !options.socket.empty())
        return fail(ErrorCode::kInvalidParameter,
                    "--cross-domain is not possible with --socket: it is for the device there to "
                    "say.");
    options.limits = SWEDE_TRY(check_limits(arguments.limits));
    options.max_clients = SWEDE_TRY(
        check_max_clients(arguments.max_clients.value_or(std::string(kDefaultMaxClients))));
    options.command = arguments.command;
    const char* const path = std::getenv("PATH");
    options.file =
        SWEDE_TRY(find_program(options.command.front(), path == nullptr ? "/usr/bin:/bin" : path));
    SWEDE_TRY(check_preloadable(options.file));
    if (!arguments.driver && !options.gpu.none) {
        options.driver = SWEDE_TRY(find_gfxstream_driver(vulkan_driver_folders()));
    } else if (arguments.driver && *arguments.driver != "none") {
        if (::access(arguments.driver->c_str(), R_OK) != 0)
            return fail(
                ErrorCode::kInvalidParameter,
                "--driver \"{}\" is not possible: {}; accepted is the JSON file of a Vulkan "
                "driver, or none.",
                *arguments.driver, std::strerror(errno));
        options.driver = *arguments.driver;
    }
    options.shim = arguments.shim ? *arguments.shim : SWEDE_TRY(find_shim());
    if (options.shim.find_first_of(": ") != std::string::npos)
        return fail(ErrorCode::kInvalidParameter,
                    "The shim \"{}\" has a blank or a colon in its path, which LD_PRELOAD cannot "
                    "have.",
                    options.shim);
    if (::access(options.shim.c_str(), R_OK) != 0)
        return fail(ErrorCode::kInvalidParameter, "--shim \"{}\" is not possible: {}.",
                    options.shim, std::strerror(errno));
    return options;
}

Result<int> run_with_device(const RunOptions& options, const RendererMaker& maker) {
    if (!options.socket.empty()) return become_program(options);
    // Linux takes the exit statuses of who ignores it, as one may be started to.
    ::signal(SIGCHLD, SIG_DFL);
    const auto [renderers, describe] = SWEDE_TRY(maker(options.gpu, options.limits));
    ::signal(SIGPIPE, SIG_IGN);                          // programs close when they like
    const Signals signals = SWEDE_TRY(Signals::take());  // before the first thread
    const auto loop = SWEDE_TRY(EventLoop::create());
    const PrivateFolder folder = SWEDE_TRY(PrivateFolder::create());
    const std::string path = folder.path() + "/gpu";
    UniqueFd listener = SWEDE_TRY(listen_unix(path));
    const SocketFile file(path);
    const auto server = SWEDE_TRY(local_socket::serve(
        *loop, std::move(listener),
        {options.limits, with_cross_domain(renderers, options.cross_domain), options.max_clients}));
    if (describe) fmt::print(stderr, "swede run: the GPU is {}\n", describe());

    const auto program =
        SWEDE_TRY(RunningProgram::start(options, environment_of(options, path), signals.before()));
    raise_file_limit();  // ours, and not the program's
    const auto end = SWEDE_TRY(loop->watch(program.fd(), EPOLLIN, [&](uint32_t) { loop->stop(); }));
    const auto forward =
        SWEDE_TRY(loop->watch(signals.fd(), EPOLLIN, [&](uint32_t) { signals.forward(program); }));
    loop->run();
    return program.status();
}

}  // namespace swede
