#pragma once

// Everything that a program needs: includes only.
#include <kephas/base/error.hpp>
#include <kephas/base/payload.hpp>
#include <kephas/base/uuid.hpp>

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/http/origin.hpp>
#include <kephas/proto/json/convert.hpp>
#include <kephas/proto/json/parse.hpp>
#include <kephas/proto/json/value.hpp>
#include <kephas/proto/json/write.hpp>
#include <kephas/proto/websocket/close_code.hpp>

#include <kephas/client/command_client.hpp>

#include <kephas/server/client.hpp>
#include <kephas/server/clients.hpp>
#include <kephas/server/close_info.hpp>
#include <kephas/server/options.hpp>
#include <kephas/server/request.hpp>
#include <kephas/server/router.hpp>
#include <kephas/server/server.hpp>
#include <kephas/server/server_stats.hpp>
