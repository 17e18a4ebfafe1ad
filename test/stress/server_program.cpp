#include "server_program.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace stress {

server_program::server_program() {
    const char* const path = std::getenv("STRESS_SERVER");
    if (path == nullptr) throw std::runtime_error{"STRESS_SERVER is not set to the server's program"};
    int pipe[2];
    if (::pipe2(pipe, O_CLOEXEC) != 0) throw std::runtime_error{"pipe2"};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe[1], STDOUT_FILENO);
    std::string name{path};
    char* arguments[] = {name.data(), nullptr};
    const int failure = ::posix_spawn(&pid_, path, &actions, nullptr, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(pipe[1]);
    const std::unique_ptr<FILE, int (*)(FILE*)> out{::fdopen(pipe[0], "r"), &std::fclose};
    if (failure != 0) throw std::runtime_error{"cannot start " + name};
    unsigned port = 0;
    if (std::fscanf(out.get(), "listening on 127.0.0.1:%u", &port) != 1) {
        wait();
        throw std::runtime_error{name + " does not listen"};
    }
    port_ = static_cast<std::uint16_t>(port);
}

server_program::~server_program() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    wait();
}

void server_program::terminate() const { ::kill(pid_, SIGTERM); }

int server_program::wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace stress
