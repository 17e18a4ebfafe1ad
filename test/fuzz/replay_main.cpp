// Feeds a fuzz target with every file of its corpus and with beginnings of it, so that the corpus is an ordinary test
// and needs no fuzzer. Each input lies in a block of exactly its size: a sanitizer sees a read past the end.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t max_cuts = 512;  // of one file, spread evenly over a longer one

std::vector<char> read(const std::filesystem::path& path) {
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

void run(const char* bytes, std::size_t size) {
    const auto copy = std::make_unique<std::uint8_t[]>(size);
    std::copy_n(bytes, size, copy.get());
    LLVMFuzzerTestOneInput(copy.get(), size);
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc < 2) {
        std::fputs("usage: replay DIRECTORY|FILE...\n", stderr);
        return 2;
    }
    std::vector<std::filesystem::path> inputs;
    for (int i = 1; i < argc; ++i) {
        if (std::filesystem::is_directory(argv[i])) {
            for (const auto& entry : std::filesystem::recursive_directory_iterator{argv[i]}) {
                if (entry.is_regular_file()) inputs.push_back(entry.path());
            }
        } else {
            inputs.emplace_back(argv[i]);
        }
    }
    std::sort(inputs.begin(), inputs.end());
    if (inputs.empty()) {
        std::fputs("no input: a fuzz target comes with a corpus\n", stderr);
        return 1;
    }

    std::size_t runs = 0;
    for (const std::filesystem::path& path : inputs) {
        std::printf("%s\n", path.c_str());  // the last one printed is the one that failed
        std::fflush(stdout);
        const std::vector<char> bytes = read(path);
        const std::size_t step = bytes.size() / max_cuts + 1;
        for (std::size_t size = 0; size < bytes.size(); size += step, ++runs) run(bytes.data(), size);
        run(bytes.data(), bytes.size());
        ++runs;
    }
    std::printf("%zu files, %zu inputs\n", inputs.size(), runs);
    return 0;
} catch (const std::exception& e) {
    std::fprintf(stderr, "thrown: %s\n", e.what());
    return 1;
}
