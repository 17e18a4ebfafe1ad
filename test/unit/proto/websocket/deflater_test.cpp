#include <kephas/proto/websocket/deflater.hpp>

#include <doctest/doctest.h>
#include <support/deflate.hpp>
#include <support/hex.hpp>
#include <support/websocket.hpp>

#include <string>
#include <utility>

using namespace kephas;
using namespace kephas::test;
using websocket::deflater;

namespace {

// Counts what is borrowed.
class counting_lender final : public websocket::codec_lender {
public:
    explicit counting_lender(websocket::codec_pool& pool) : pool_{pool} {}
    std::unique_ptr<websocket::inflate_context> borrow_inflate() override { return pool_.borrow_inflate(); }
    void give_back(std::unique_ptr<websocket::inflate_context> context) noexcept override {
        pool_.give_back(std::move(context));
    }
    std::unique_ptr<websocket::deflate_context> borrow_deflate(int window_bits) override {
        ++borrowed;
        return pool_.borrow_deflate(window_bits);
    }
    void give_back(std::unique_ptr<websocket::deflate_context> context) noexcept override {
        ++returned;
        pool_.give_back(std::move(context));
    }

    int borrowed = 0;
    int returned = 0;

private:
    websocket::codec_pool& pool_;
};

std::optional<std::string> deflate(deflater& machine, std::string_view text) {
    // in two parts, as a command id and its payload are
    const std::size_t cut = std::min<std::size_t>(text.size(), 4);
    const bytes_view parts[] = {as_bytes(text.substr(0, cut)), as_bytes(text.substr(cut))};
    const auto out = machine.deflate(parts);
    return out ? std::optional{to_text(out->view())} : std::nullopt;
}

constexpr deflate_options all{.enabled = true, .threshold = 0};

}  // namespace

TEST_CASE("what is compressed is what a peer inflates, with any window, level and memory") {
    for (const bool takeover : {false, true}) {
        for (int bits = 9; bits <= 15; ++bits) {
            for (const auto& [level, memory] : {std::pair{1, 8}, {6, 8}, {9, 9}, {3, 1}, {9, 1}}) {
                CAPTURE(takeover);
                CAPTURE(bits);
                CAPTURE(level);
                auto options = all;
                options.level = level;
                options.memory_level = memory;
                websocket::codec_pool pool{level, memory};
                deflater machine{pool, options, takeover, bits};
                peer_inflater peer{bits};
                for (const std::size_t size : {100U, 1U, 300U, 20'000U, 100'000U, 99U}) {
                    const std::string text = sample_json(size, static_cast<unsigned>(size));
                    const auto compressed = deflate(machine, text);
                    if (!compressed) {
                        CHECK(!takeover);
                        CHECK(size == 1);
                        continue;
                    }
                    if (!takeover) peer.reset();
                    CHECK(peer.message(*compressed) == text);
                }
            }
        }
    }
}

TEST_CASE("the examples of RFC 7692 7.2.3 are what zlib makes of them") {
    websocket::codec_pool pool{6, 8};
    deflater machine{pool, {.level = 6, .threshold = 0}, true, 15};
    CHECK(deflate(machine, "Hello") == to_text("f2 48 cd c9 c9 07 00"_hex));
    CHECK(deflate(machine, "Hello") == to_text("f2 00 11 00 00"_hex));  // 7.2.3.2
}

TEST_CASE("what does not become smaller goes as it is, unless the contexts have to follow each other") {
    websocket::codec_pool pool{1, 8};
    for (const std::size_t size : {1U, 10U, 1000U, 500'000U}) {
        deflater alone{pool, all, false, 15};
        CHECK(!deflate(alone, noise(size)));
        deflater linked{pool, all, true, 15};
        const auto compressed = deflate(linked, noise(size));
        REQUIRE(compressed);
        CHECK((peer_inflater{}.message(*compressed) == noise(size)));
        CHECK(compressed->size() <= size + size / 1000 + 16);
    }
    // giving up in the middle leaves nothing behind in the context that the next message gets
    deflater alone{pool, all, false, 15};
    CHECK(!deflate(alone, noise(500'000)));
    const auto compressed = deflate(alone, sample_json(5000));
    REQUIRE(compressed);
    CHECK(peer_inflater{}.message(*compressed) == sample_json(5000));
}

TEST_CASE("small messages go as they are, and so does everything with a window of 8 bits") {
    websocket::codec_pool pool{1, 8};
    for (const bool takeover : {false, true}) {
        deflater machine{pool, {.threshold = 100}, takeover, 15};
        CHECK_FALSE(machine.wants(99));
        CHECK(machine.wants(100));
        CHECK(!deflate(machine, std::string(99, 'x')));
        CHECK(deflate(machine, std::string(100, 'x')));
        deflater narrow{pool, all, takeover, 8};
        CHECK_FALSE(narrow.wants(1'000'000));
        CHECK(!deflate(narrow, std::string(1'000'000, 'x')));
        deflater everything{pool, all, takeover, 15};
        CHECK_FALSE(everything.wants(0));
        CHECK(!deflate(everything, ""));
    }
}

TEST_CASE("without context takeover contexts are borrowed for one message, and shared") {
    websocket::codec_pool pool{1, 8};
    counting_lender lender{pool};
    deflater first{lender, all, false, 15};
    deflater second{lender, all, false, 15};
    const auto once = deflate(first, sample_json(1000));
    CHECK(deflate(second, sample_json(1000)) == once);
    CHECK(deflate(first, sample_json(1000)) == once);
    CHECK(lender.borrowed == 3);
    CHECK(lender.returned == 3);
    deflater own{lender, all, true, 15};
    CHECK(deflate(own, sample_json(1000)) == once);
    CHECK(deflate(own, sample_json(1000))->size() < once->size() / 10);
    CHECK(lender.borrowed == 3);
}

TEST_CASE("the pool keeps a few contexts of each kind, and gives those of the right window") {
    websocket::codec_pool pool{1, 8};
    std::vector<std::unique_ptr<websocket::deflate_context>> out;
    for (int bits = 9; bits <= 15; ++bits) out.push_back(pool.borrow_deflate(bits));
    std::vector<const void*> addresses;
    for (const auto& each : out) addresses.push_back(each.get());
    for (auto& each : out) pool.give_back(std::move(each));
    CHECK(pool.borrow_deflate(15).get() == addresses.back());
    const auto narrow = pool.borrow_deflate(9);  // was pushed out by those that came later
    CHECK(narrow->window_bits() == 9);
    pool.give_back(std::unique_ptr<websocket::deflate_context>{});
    pool.give_back(std::unique_ptr<websocket::inflate_context>{});
    auto in = pool.borrow_inflate();
    const void* const address = in.get();
    pool.give_back(std::move(in));
    CHECK(pool.borrow_inflate().get() == address);
}
