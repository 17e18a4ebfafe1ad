#include <kephas/net/peer_certificate.hpp>

#include <fmt/format.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <array>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>

namespace kephas {

namespace {

struct openssl_delete {
    void operator()(BIO* what) const noexcept { BIO_free(what); }
    void operator()(BIGNUM* what) const noexcept { BN_free(what); }
    void operator()(GENERAL_NAMES* what) const noexcept { GENERAL_NAMES_free(what); }
    void operator()(char* what) const noexcept { OPENSSL_free(what); }
};
template <class T>
using owned = std::unique_ptr<T, openssl_delete>;

std::string text_of(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return size > 0 ? std::string{data, static_cast<std::size_t>(size)} : std::string{};
}

std::string text_of(const X509_NAME* name) {
    const owned<BIO> bio{BIO_new(BIO_s_mem())};
    if (!bio || X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253 & ~static_cast<unsigned long>(ASN1_STRFLGS_ESC_MSB)) < 0) {
        return {};
    }
    return text_of(bio.get());
}

std::string text_of(const ASN1_STRING* text) {
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), static_cast<std::size_t>(ASN1_STRING_length(text))};
}

std::string common_name_of(const X509_NAME* subject) {
    int last = -1;
    for (int i = -1; (i = X509_NAME_get_index_by_NID(subject, NID_commonName, i)) >= 0;) last = i;
    if (last < 0) return {};
    unsigned char* utf8 = nullptr;
    const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
    if (size < 0) return {};
    const owned<char> owner{reinterpret_cast<char*>(utf8)};
    return {owner.get(), static_cast<std::size_t>(size)};
}

std::string serial_of(X509* certificate) {
    const owned<BIGNUM> number{ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr)};
    const owned<char> digits{number ? BN_bn2hex(number.get()) : nullptr};
    return digits ? digits.get() : std::string{};
}

std::string fingerprint_of(X509* certificate) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
    unsigned int size = 0;
    if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1) return {};
    std::string hex;
    for (unsigned int i = 0; i < size; ++i) fmt::format_to(std::back_inserter(hex), "{:02x}", digest[i]);
    return hex;
}

}  // namespace

peer_certificate describe_certificate(x509_st* certificate) {
    peer_certificate info;
    const X509_NAME* subject = X509_get_subject_name(certificate);
    info.subject = text_of(subject);
    info.common_name = common_name_of(subject);
    info.issuer = text_of(X509_get_issuer_name(certificate));
    info.serial = serial_of(certificate);
    info.fingerprint = fingerprint_of(certificate);
    const owned<GENERAL_NAMES> names{
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr))};
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
        if (name->type == GEN_DNS) info.dns_names.push_back(text_of(name->d.dNSName));
        else if (name->type == GEN_EMAIL) info.email_addresses.push_back(text_of(name->d.rfc822Name));
        else if (name->type == GEN_URI) info.uris.push_back(text_of(name->d.uniformResourceIdentifier));
    }
    if (const owned<BIO> pem{BIO_new(BIO_s_mem())}; pem && PEM_write_bio_X509(pem.get(), certificate) == 1) {
        info.pem = text_of(pem.get());
    }
    ERR_clear_error();
    return info;
}

}  // namespace kephas
