#pragma once

#include <kephas/base/tls_info.hpp>

struct x509_st;  // OpenSSL's X509

namespace kephas {

[[nodiscard]] peer_certificate describe_certificate(x509_st* certificate);

}  // namespace kephas
