#include <support/certificates.hpp>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <memory>
#include <stdexcept>

namespace kephas::test {

namespace {

struct freed {
    void operator()(X509* what) const noexcept { X509_free(what); }
    void operator()(EVP_PKEY* what) const noexcept { EVP_PKEY_free(what); }
    void operator()(BIO* what) const noexcept { BIO_free(what); }
    void operator()(X509_EXTENSION* what) const noexcept { X509_EXTENSION_free(what); }
};
template <class T>
using owned = std::unique_ptr<T, freed>;

void require(bool holds) {
    if (!holds) throw std::runtime_error{"OpenSSL has refused to make a certificate"};
}

EVP_PKEY* make_key(key_type type) {
    EVP_PKEY* key = type == key_type::ec ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);
    require(key != nullptr);
    return key;
}

void add_extension(X509* to, X509* issuer, int kind, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
    const owned<X509_EXTENSION> extension{X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str())};
    require(extension && X509_add_ext(to, extension.get(), -1) == 1);
}

void set_name(X509_NAME* name, const std::string& common_name) {
    const auto add = [name](const char* field, const std::string& value) {
        require(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                           static_cast<int>(value.size()), -1, 0) == 1);
    };
    add("O", "kephas");
    add("CN", common_name);
}

owned<X509> make_certificate(EVP_PKEY* key, bool expired) {
    owned<X509> made{X509_new()};
    require(made && X509_set_version(made.get(), 2) == 1 && X509_set_pubkey(made.get(), key) == 1);
    unsigned char serial[15];
    require(RAND_bytes(serial, sizeof(serial)) == 1);
    serial[0] |= 1;
    BIGNUM* number = BN_bin2bn(serial, sizeof(serial), nullptr);
    require(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(made.get())) != nullptr);
    BN_free(number);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -7200);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), expired ? -3600 : 86'400);
    return made;
}

template <class Write>
std::string pem_of(Write write) {
    const owned<BIO> bio{BIO_new(BIO_s_mem())};
    require(bio && write(bio.get()) == 1);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

owned<EVP_PKEY> read_key(const std::string& pem) {
    const owned<BIO> bio{BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))};
    return owned<EVP_PKEY>{PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr)};
}

}  // namespace

test_ca::test_ca(const std::string& name) : certificate_{nullptr}, key_{make_key(key_type::ec)} {
    auto* key = static_cast<EVP_PKEY*>(key_);
    auto made = make_certificate(key, false);
    set_name(X509_get_subject_name(made.get()), name);
    require(X509_set_issuer_name(made.get(), X509_get_subject_name(made.get())) == 1);
    add_extension(made.get(), made.get(), NID_basic_constraints, "critical,CA:TRUE");
    add_extension(made.get(), made.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
    add_extension(made.get(), made.get(), NID_subject_key_identifier, "hash");
    require(X509_sign(made.get(), key, EVP_sha256()) > 0);
    pem_ = pem_of([&](BIO* bio) { return PEM_write_bio_X509(bio, made.get()); });
    certificate_ = made.release();
}

test_ca::~test_ca() {
    X509_free(static_cast<X509*>(certificate_));
    EVP_PKEY_free(static_cast<EVP_PKEY*>(key_));
}

key_pair test_ca::issue(const certificate_wish& wish) const {
    auto* ca = static_cast<X509*>(certificate_);
    const owned<EVP_PKEY> key{make_key(wish.type)};
    const auto made = make_certificate(key.get(), wish.expired);
    set_name(X509_get_subject_name(made.get()), wish.common_name.empty() ? wish.names.at(0) : wish.common_name);
    require(X509_set_issuer_name(made.get(), X509_get_subject_name(ca)) == 1);
    std::string alternatives;
    for (const std::string& name : wish.names) alternatives += (alternatives.empty() ? "DNS:" : ",DNS:") + name;
    for (const std::string& each : wish.addresses) alternatives += (alternatives.empty() ? "IP:" : ",IP:") + each;
    if (!wish.email.empty()) alternatives += (alternatives.empty() ? "email:" : ",email:") + wish.email;
    if (!alternatives.empty()) add_extension(made.get(), ca, NID_subject_alt_name, alternatives);
    add_extension(made.get(), ca, NID_ext_key_usage, wish.for_client ? "clientAuth" : "serverAuth");
    add_extension(made.get(), ca, NID_authority_key_identifier, "keyid");
    require(X509_sign(made.get(), static_cast<EVP_PKEY*>(key_), EVP_sha256()) > 0);
    return {pem_of([&](BIO* bio) { return PEM_write_bio_X509(bio, made.get()); }),
            pem_of([&](BIO* bio) { return PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr); })};
}

const test_ca& common_ca() {
    static const test_ca ca;
    return ca;
}

const key_pair& localhost_pair() {
    static const key_pair pair = common_ca().issue({.names = {"localhost"}});
    return pair;
}

std::string encrypted_key(const key_pair& pair, const std::string& passphrase) {
    const auto key = read_key(pair.key);
    return pem_of([&](BIO* bio) {
        return PEM_write_bio_PrivateKey(bio, key.get(), EVP_aes_128_cbc(),
                                        reinterpret_cast<const unsigned char*>(passphrase.data()),
                                        static_cast<int>(passphrase.size()), nullptr, nullptr);
    });
}

std::string fingerprint(const std::string& certificate) {
    const owned<BIO> bio{BIO_new_mem_buf(certificate.data(), static_cast<int>(certificate.size()))};
    const owned<X509> parsed{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)};
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    require(parsed && X509_digest(parsed.get(), EVP_sha256(), digest, &size) == 1);
    static constexpr char digits[] = "0123456789abcdef";
    std::string hex;
    for (unsigned int i = 0; i < size; ++i) {
        hex += digits[digest[i] >> 4];
        hex += digits[digest[i] & 15];
    }
    return hex;
}

}  // namespace kephas::test
