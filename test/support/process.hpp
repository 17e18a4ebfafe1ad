#pragma once

#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace kephas::test {

/// A program in a process of its own, whose standard output can be read. Killed when this is destroyed.
class process {
public:
    explicit process(std::vector<std::string> command) {
        int ends[2];
        if (::pipe(ends) != 0) throw std::system_error{errno, std::system_category(), "pipe"};
        std::vector<char*> arguments;
        for (std::string& each : command) arguments.push_back(each.data());
        arguments.push_back(nullptr);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::dup2(ends[1], STDOUT_FILENO);
            ::close(ends[0]);
            ::close(ends[1]);
            ::execv(arguments[0], arguments.data());
            ::_exit(127);
        }
        ::close(ends[1]);
        output_ = ends[0];
        if (pid_ < 0) throw std::system_error{errno, std::system_category(), "fork"};
    }
    process(const process&) = delete;
    process& operator=(const process&) = delete;
    ~process() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            (void)wait();
        }
        ::close(output_);
    }

    void send_signal(int number) const { ::kill(pid_, number); }

    /// The next line of its output, without its end. Throws after ten seconds, and at the end of the output.
    std::string read_line() {
        for (;;) {
            if (const auto end = buffer_.find('\n'); end != std::string::npos) {
                std::string line = buffer_.substr(0, end);
                buffer_.erase(0, end + 1);
                return line;
            }
            pollfd ready{output_, POLLIN, 0};
            if (::poll(&ready, 1, 10'000) <= 0) throw std::runtime_error{"the process says nothing"};
            char chunk[4096];
            const ssize_t size = ::read(output_, chunk, sizeof(chunk));
            if (size <= 0) throw std::runtime_error{"the process has ended: " + buffer_};
            buffer_.append(chunk, static_cast<std::size_t>(size));
        }
    }

    /// Waits for its end: its exit code, or minus the signal that killed it.
    int wait() {
        int status = 0;
        ::waitpid(std::exchange(pid_, -1), &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }

private:
    pid_t pid_ = -1;
    int output_ = -1;
    std::string buffer_;
};

}  // namespace kephas::test
