#pragma once

#include <kephas/kephas.hpp>

#include <cstddef>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace chat {

/// Somebody who has told a name.
struct user {
    std::string id;  ///< The client's id.
    std::string username;
    std::string joined_at;  ///< RFC 3339.
};

struct message {
    std::string id;  ///< The sender's.
    std::string username;
    std::string text;
    std::string timestamp;  ///< RFC 3339.
};

kephas::json to_json(const user& who);
kephas::json to_json(const message& said);

/// Now, in UTC with milliseconds: "2026-11-21T12:00:00.000Z".
std::string timestamp();

/// Who is there and what was said last. Any thread.
class room {
public:
    static constexpr std::size_t remembered = 100;

    struct renamed {
        user now;
        std::optional<user> before;  ///< Who it was until now, if the name has changed.
        bool changed = true;
    };
    renamed set_name(const std::string& id, std::string username);
    std::optional<user> leave(const std::string& id);
    /// The members, in the order in which they joined.
    std::vector<user> members() const;

    /// Remembers what somebody says and gives it a name and a time.
    message say(const std::string& id, std::string text);
    /// The latest messages, oldest first.
    std::vector<message> history(std::size_t limit) const;

private:
    mutable std::mutex mutex_;
    std::vector<user> members_;
    std::deque<message> history_;
};

}  // namespace chat
