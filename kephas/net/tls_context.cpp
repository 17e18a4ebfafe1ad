#include <kephas/base/error.hpp>

#include <kephas/net/tls_client_context.hpp>
#include <kephas/net/tls_context.hpp>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <new>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace kephas {

namespace {

struct openssl_delete {
    void operator()(SSL_CTX* what) const noexcept { SSL_CTX_free(what); }
    void operator()(X509* what) const noexcept { X509_free(what); }
    void operator()(EVP_PKEY* what) const noexcept { EVP_PKEY_free(what); }
    void operator()(BIO* what) const noexcept { BIO_free(what); }
    void operator()(STACK_OF(X509) * what) const noexcept { sk_X509_pop_free(what, X509_free); }
    void operator()(GENERAL_NAMES* what) const noexcept { GENERAL_NAMES_free(what); }
};
template <class T>
using owned = std::unique_ptr<T, openssl_delete>;

template <class T>
owned<T> own(T* made) {
    if (made == nullptr) throw std::bad_alloc{};
    return owned<T>{made};
}

std::string name_of(const pem_source& source) { return source.file.empty() ? "(in memory)" : source.file.string(); }

[[noreturn]] void refuse(const std::string& what) { throw error{errc::invalid_certificate, what}; }
[[noreturn]] void refuse_with_reason(const std::string& where) {
    refuse(where + ": " + take_tls_error().message());
}

std::string read(const pem_source& source) {
    if (source.file.empty()) return source.text;
    static constexpr std::size_t largest = 1024 * 1024;
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::fopen(source.file.c_str(), "rbe"), &std::fclose};
    if (!file) throw error{std::error_code{errno, std::system_category()}, source.file.string()};
    std::string text;
    std::array<char, 16 * 1024> chunk;
    while (const std::size_t size = std::fread(chunk.data(), 1, chunk.size(), file.get())) {
        text.append(chunk.data(), size);
        if (text.size() > largest) refuse(source.file.string() + ": more than 1 MiB");
    }
    if (std::ferror(file.get()) != 0) throw error{std::error_code{errno, std::system_category()}, source.file.string()};
    return text;
}

owned<BIO> reader_of(const std::string& text) {
    return own(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

/// OpenSSL would ask on the terminal.
int no_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* asked) {
    if (asked != nullptr) *static_cast<bool*>(asked) = true;
    return -1;
}

std::vector<owned<X509>> parse_certificates(const std::string& text, const std::string& where) {
    const auto reader = reader_of(text);
    std::vector<owned<X509>> all;
    ERR_clear_error();
    while (X509* next = PEM_read_bio_X509(reader.get(), nullptr, no_passphrase, nullptr)) all.emplace_back(next);
    // The end of the text is an error like any other; a block that is cut off is one that counts.
    const unsigned long why = ERR_peek_last_error();
    const bool at_end = ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE;
    if (!at_end) refuse_with_reason(where);
    ERR_clear_error();
    if (all.empty()) refuse(where + ": there is no certificate in PEM form");
    return all;
}

owned<EVP_PKEY> parse_key(const std::string& text, const std::string& where) {
    const auto reader = reader_of(text);
    bool encrypted = false;
    ERR_clear_error();
    owned<EVP_PKEY> key{PEM_read_bio_PrivateKey(reader.get(), nullptr, no_passphrase, &encrypted)};
    if (key) return key;
    if (encrypted) refuse(where + ": the key is encrypted; nobody is there to type its passphrase");
    if (text.find("PRIVATE KEY-----") == std::string::npos) refuse(where + ": there is no private key in PEM form");
    refuse_with_reason(where);
}

std::string lower(std::string_view text) {
    std::string result{text};
    for (char& c : result) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return result;
}

/// The DNS names that a certificate holds; its common name only if it has none (RFC 6125 6.4.4). Sorted.
std::vector<std::string> dns_names_of(X509* certificate) {
    std::vector<std::string> names;
    const owned<GENERAL_NAMES> all{static_cast<GENERAL_NAMES*>(
        X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr))};
    for (int i = 0; all && i < sk_GENERAL_NAME_num(all.get()); ++i) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(all.get(), i);
        if (name->type != GEN_DNS) continue;
        const ASN1_STRING* text = name->d.dNSName;
        names.push_back(lower({reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                               static_cast<std::size_t>(ASN1_STRING_length(text))}));
    }
    if (names.empty()) {
        char common[256];
        const int size = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, common, sizeof(common));
        if (size > 0) names.push_back(lower({common, static_cast<std::size_t>(size)}));
    }
    ERR_clear_error();
    std::ranges::sort(names);
    return names;
}

/// One certificate with its chain and its key, parsed.
struct credential {
    owned<X509> leaf;
    owned<STACK_OF(X509)> chain;
    owned<EVP_PKEY> key;
    std::vector<std::string> names;
};
using credential_list = std::vector<const credential*>;

credential make_credential(const tls_certificate& from, const tls_material::pair& text) {
    credential made;
    auto certificates = parse_certificates(text.certificate, name_of(from.certificate));
    made.leaf = std::move(certificates.front());
    made.chain = own(sk_X509_new_null());
    for (std::size_t i = 1; i < certificates.size(); ++i) {
        if (sk_X509_push(made.chain.get(), certificates[i].get()) == 0) throw std::bad_alloc{};
        (void)certificates[i].release();
    }
    made.key = parse_key(text.key, name_of(from.key));
    if (X509_check_private_key(made.leaf.get(), made.key.get()) != 1) {
        ERR_clear_error();
        refuse(fmt::format("the certificate {} and the key {} do not belong together", name_of(from.certificate),
                           name_of(from.key)));
    }
    made.names = dns_names_of(made.leaf.get());
    return made;
}

void show(SSL_CTX* context, const credential& what, const std::string& where) {
    ERR_clear_error();
    if (SSL_CTX_use_cert_and_key(context, what.leaf.get(), what.key.get(), what.chain.get(), 1) != 1) refuse_with_reason(where);
}

/// Adds one that may be used besides the others: a connection shows one of each type of key at most.
void add_if_new_type(credential_list& list, const credential& one) {
    const int type = EVP_PKEY_get_base_id(one.key.get());
    const auto same = [type](const credential* other) { return EVP_PKEY_get_base_id(other->key.get()) == type; };
    if (std::ranges::none_of(list, same)) list.push_back(&one);
}

std::string wire_form(const std::vector<std::string>& protocols) {  // RFC 7301 3.1
    std::string wire;
    for (const std::string& each : protocols) {
        wire += static_cast<char>(each.size());
        wire += each;
    }
    return wire;
}

void require(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument{what};
}

void check_alpn(const std::vector<std::string>& protocols) {
    std::size_t wire_size = 0;
    for (const std::string& each : protocols) {
        require(!each.empty() && each.size() <= 255, "tls.alpn: a protocol has 1 to 255 bytes");
        wire_size += each.size() + 1;
    }
    require(wire_size <= 65'535, "tls.alpn: too many protocols");
}

owned<SSL_CTX> make_native(const SSL_METHOD* role, tls_version oldest) {
    auto made = own(SSL_CTX_new(role));
    SSL_CTX_set_options(made.get(), SSL_OP_NO_RENEGOTIATION);
    // An idle connection owns no buffers; a chain is what the file says, not what OpenSSL finds among the client CAs.
    SSL_CTX_set_mode(made.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_min_proto_version(made.get(), oldest == tls_version::tls_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_session_cache_mode(made.get(), SSL_SESS_CACHE_OFF);
    return made;
}

owned<SSL_CTX> make_server(tls_version oldest) {
    auto made = make_native(TLS_server_method(), oldest);
    // Sessions are resumed with tickets. Their keys are this context's own: a client that was verified under other
    // rules is verified again.
    static constexpr std::string_view name = "kephas";
    SSL_CTX_set_session_id_context(made.get(), reinterpret_cast<const unsigned char*>(name.data()), name.size());
    return made;
}

class tls_category_type final : public std::error_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "kephas.tls"; }
    [[nodiscard]] std::string message(int value) const override {
        const char* reason = ERR_reason_error_string(static_cast<unsigned int>(value));
        return reason != nullptr ? reason : fmt::format("TLS error {:#x}", static_cast<unsigned int>(value));
    }
    [[nodiscard]] std::error_condition default_error_condition(int) const noexcept override {
        return condition::protocol_violation;
    }
};

}  // namespace

const std::error_category& tls_category() noexcept {
    static const tls_category_type category;
    return category;
}

std::error_code take_tls_error() noexcept {
    unsigned long code = ERR_peek_error();
    if (code == 0) code = ERR_PACK(ERR_LIB_SSL, 0, ERR_R_INTERNAL_ERROR);
    ERR_clear_error();
    return {static_cast<int>(code), tls_category()};
}

tls_material tls_material::read(const tls_options& options) {
    tls_material material;
    for (const tls_certificate& each : options.certificates) {
        material.certificates.push_back({kephas::read(each.certificate), kephas::read(each.key)});
    }
    if (!options.client_ca.empty()) material.client_ca = kephas::read(options.client_ca);
    return material;
}

void check_tls_options(const tls_options& options) {
    require(!options.certificates.empty(), "tls.certificates: a listener that speaks TLS needs at least one");
    for (const tls_certificate& each : options.certificates) {
        require(!each.certificate.empty(), "tls.certificates: a certificate is missing");
        require(!each.key.empty(), "tls.certificates: a key is missing");
    }
    require(options.clients == client_certificates::none || !options.client_ca.empty(),
            "tls.client_ca is needed to verify the certificates of clients");
    require(options.clients != client_certificates::none || options.client_ca.empty(),
            "tls.client_ca is given, but tls.clients asks for no certificates");
    check_alpn(options.alpn);
    require(options.watch_interval >= duration::zero(), "tls.watch_interval is negative");
    require(options.reload_patience >= duration::zero(), "tls.reload_patience is negative");
}

struct tls_context::implementation {
    implementation(const tls_options& options, const tls_material& material);

    void add_names(const credential& from);
    void accept_clients(const tls_options& options, const std::string& ca);
    /// The credentials for a name that a client asks for, or null for the default.
    [[nodiscard]] const credential_list* find(std::string_view name) const;

    static int choose_certificate(SSL* connection, void* self) noexcept;
    static int choose_protocol(SSL* connection, const unsigned char** out, unsigned char* size, const unsigned char* offered,
                               unsigned int offered_size, void* self) noexcept;

    std::vector<credential> credentials;
    credential_list standard;
    std::unordered_map<std::string, credential_list> by_name;  // with wildcards as they are written: "*.example.com"
    std::string alpn;
    owned<SSL_CTX> native;
};

tls_context::implementation::implementation(const tls_options& options, const tls_material& material)
    : alpn{wire_form(options.alpn)}, native{make_server(options.min_version)} {
    for (std::size_t i = 0; i < options.certificates.size(); ++i) {
        credentials.push_back(make_credential(options.certificates[i], material.certificates[i]));
    }
    for (std::size_t i = 0; i < credentials.size(); ++i) {
        const credential& each = credentials[i];
        const std::string where = name_of(options.certificates[i].certificate);
        // What OpenSSL does not want (a key that is too small, say) is refused now and not at every handshake.
        show(make_server(options.min_version).get(), each, where);
        if (each.names == credentials.front().names) add_if_new_type(standard, each);
        add_names(each);
    }
    for (const credential* each : standard) show(native.get(), *each, "tls.certificates");
    SSL_CTX_set_cert_cb(native.get(), choose_certificate, this);
    SSL_CTX_set_tlsext_servername_callback(native.get(), +[](SSL* connection, int*, void*) {
        return SSL_get_servername(connection, TLSEXT_NAMETYPE_host_name) != nullptr ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
    });
    if (!alpn.empty()) SSL_CTX_set_alpn_select_cb(native.get(), choose_protocol, this);
    if (options.clients != client_certificates::none) accept_clients(options, material.client_ca);
}

void tls_context::implementation::add_names(const credential& from) {
    for (const std::string& name : from.names) add_if_new_type(by_name[name], from);
}

void tls_context::implementation::accept_clients(const tls_options& options, const std::string& ca) {
    const std::string where = name_of(options.client_ca);
    for (const auto& each : parse_certificates(ca, where)) {
        if (X509_STORE_add_cert(SSL_CTX_get_cert_store(native.get()), each.get()) != 1 ||
            SSL_CTX_add_client_CA(native.get(), each.get()) != 1) {
            refuse_with_reason(where);
        }
    }
    int mode = SSL_VERIFY_PEER;
    if (options.clients == client_certificates::required) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(native.get(), mode, nullptr);
}

const credential_list* tls_context::implementation::find(std::string_view name) const {
    if (name.ends_with('.')) name.remove_suffix(1);
    std::string wanted = lower(name);
    if (const auto exact = by_name.find(wanted); exact != by_name.end()) return &exact->second;
    const std::size_t dot = wanted.find('.');
    if (dot == std::string::npos || dot == 0) return nullptr;
    wanted.replace(0, dot, "*");  // it stands for one label (RFC 6125 6.4.3)
    const auto wildcard = by_name.find(wanted);
    return wildcard == by_name.end() ? nullptr : &wildcard->second;
}

int tls_context::implementation::choose_certificate(SSL* connection, void* self) noexcept {
    try {
        const char* name = SSL_get_servername(connection, TLSEXT_NAMETYPE_host_name);
        if (name == nullptr) return 1;
        const credential_list* chosen = static_cast<implementation*>(self)->find(name);
        if (chosen == nullptr) return 1;
        SSL_certs_clear(connection);
        for (const credential* each : *chosen) {
            if (SSL_use_cert_and_key(connection, each->leaf.get(), each->key.get(), each->chain.get(), 1) != 1) return 0;
        }
        return 1;
    } catch (const std::bad_alloc&) {
        return 0;
    }
}

int tls_context::implementation::choose_protocol(SSL* /*connection*/, const unsigned char** out, unsigned char* size,
                                                 const unsigned char* offered, unsigned int offered_size,
                                                 void* self) noexcept {
    const std::string& ours = static_cast<implementation*>(self)->alpn;
    unsigned char* chosen = nullptr;
    const int outcome = SSL_select_next_proto(&chosen, size, reinterpret_cast<const unsigned char*>(ours.data()),
                                              static_cast<unsigned int>(ours.size()), offered, offered_size);
    if (outcome != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

tls_context::tls_context(const tls_options& options, const tls_material& material)
    : implementation_{std::make_unique<implementation>(options, material)} {}

tls_context::~tls_context() = default;

ssl_ctx_st* tls_context::native_handle() const noexcept { return implementation_->native.get(); }

struct tls_client_context::implementation {
    explicit implementation(const tls_client_options& options);

    std::string server_name;
    bool verify;
    owned<SSL_CTX> native;
};

tls_client_context::implementation::implementation(const tls_client_options& options)
    : server_name{options.server_name}, verify{options.verify}, native{make_native(TLS_client_method(), options.min_version)} {
    check_alpn(options.alpn);
    ERR_clear_error();
    SSL_CTX_set_verify(native.get(), verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
    if (!options.ca.empty()) {
        const std::string where = name_of(options.ca);
        for (const auto& each : parse_certificates(read(options.ca), where)) {
            if (X509_STORE_add_cert(SSL_CTX_get_cert_store(native.get()), each.get()) != 1) refuse_with_reason(where);
        }
    } else if (verify && SSL_CTX_set_default_verify_paths(native.get()) != 1) {
        refuse_with_reason("the certificates that the system trusts");
    }
    if (options.certificate) {
        const tls_material::pair text{read(options.certificate->certificate), read(options.certificate->key)};
        const credential own_one = make_credential(*options.certificate, text);
        show(native.get(), own_one, name_of(options.certificate->certificate));
    }
    const std::string alpn = wire_form(options.alpn);
    const auto* wire = reinterpret_cast<const unsigned char*>(alpn.data());
    if (!alpn.empty() && SSL_CTX_set_alpn_protos(native.get(), wire, static_cast<unsigned int>(alpn.size())) != 0) {
        throw std::bad_alloc{};
    }
}

tls_client_context::tls_client_context(const tls_client_options& options)
    : implementation_{std::make_unique<implementation>(options)} {}

tls_client_context::~tls_client_context() = default;

std::shared_ptr<const tls_client_context> tls_client_context::standard() {
    static const auto made = std::make_shared<const tls_client_context>();
    return made;
}

ssl_ctx_st* tls_client_context::native_handle() const noexcept { return implementation_->native.get(); }
const std::string& tls_client_context::server_name() const noexcept { return implementation_->server_name; }
bool tls_client_context::verifies() const noexcept { return implementation_->verify; }

}  // namespace kephas
