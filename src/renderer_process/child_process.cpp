// SPDX-License-Identifier: Apache-2.0
#include "renderer_process/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "base/unix_socket.h"

namespace swede::renderer_process {
namespace {

/// posix_spawn's two structures, freed in every case.
struct SpawnPlan {
    SpawnPlan() {
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawnattr_init(&attributes);
    }
    ~SpawnPlan() {
        ::posix_spawn_file_actions_destroy(&actions);
        ::posix_spawnattr_destroy(&attributes);
    }
    SpawnPlan(const SpawnPlan&) = delete;
    SpawnPlan& operator=(const SpawnPlan&) = delete;

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
};

/// dup2 onto itself would keep close-on-exec, so the source must not be the target.
Result<UniqueFd> away_from_target(UniqueFd fd) {
    if (fd.get() != kRendererSocketFd) return fd;
    UniqueFd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, kRendererSocketFd + 1));
    if (!moved) return fail_errno("Cannot duplicate the renderer's socket", errno);
    return moved;
}

}  // namespace

Result<ChildProcess> spawn(const std::string& program, const std::vector<std::string>& arguments) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0)
        return fail_errno("Cannot create the renderer's socket", errno);
    ChildProcess child;
    child.socket = UniqueFd(ends[0]);
    const UniqueFd theirs = SWEDE_TRY(away_from_target(UniqueFd(ends[1])));

    SpawnPlan plan;
    ::posix_spawn_file_actions_addopen(&plan.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&plan.actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_adddup2(&plan.actions, theirs.get(), kRendererSocketFd);
    // Ours are close-on-exec; those that a VMM left open for us may not be.
    ::posix_spawn_file_actions_addclosefrom_np(&plan.actions, kRendererSocketFd + 1);
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&plan.attributes, &none);
    ::posix_spawnattr_setsigdefault(&plan.attributes, &all);
    // A group of its own: a terminal's Ctrl-C goes to the device, which ends its renderers itself.
    ::posix_spawnattr_setpgroup(&plan.attributes, 0);
    ::posix_spawnattr_setflags(
        &plan.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);

    std::vector<char*> argv{const_cast<char*>(program.c_str())};
    for (const std::string& argument : arguments)
        argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    if (const int error = ::posix_spawn(&child.pid, program.c_str(), &plan.actions,
                                        &plan.attributes, argv.data(), environ))
        return fail_errno(fmt::format("Cannot start the renderer process \"{}\"", program), error);

    // Not reaped yet, so the number is still the child's. pidfd_open sets close-on-exec.
    child.pidfd = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, child.pid, 0)));
    if (!child.pidfd) {
        const int error = errno;
        ::kill(child.pid, SIGKILL);
        ::waitpid(child.pid, nullptr, 0);
        return fail_errno("Cannot watch the renderer process", error);
    }
    return child;
}

void kill_process(const ChildProcess& child) {
    if (child.pidfd) ::syscall(SYS_pidfd_send_signal, child.pidfd.get(), SIGKILL, nullptr, 0);
}

std::optional<std::string> reap(const ChildProcess& child) {
    if (!child.pidfd) return "no process";
    siginfo_t info{};
    if (::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(child.pidfd.get()), &info,
                 WEXITED | WNOHANG) != 0)
        return "unknown status";  // ECHILD: someone else took it, so it has ended
    if (info.si_pid == 0) return std::nullopt;
    return fmt::format("{} {}", info.si_code == CLD_EXITED ? "exit status" : "signal",
                       info.si_status);
}

std::optional<std::string> reap_within(const ChildProcess& child, std::chrono::milliseconds limit) {
    if (auto status = reap(child)) return status;
    pollfd ended{child.pidfd.get(), POLLIN, 0};
    ::poll(&ended, 1, static_cast<int>(limit.count()));
    return reap(child);
}

}  // namespace swede::renderer_process
