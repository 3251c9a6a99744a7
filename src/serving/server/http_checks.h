// What of a request's head the server refuses by itself, whatever the handler is.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/http_message.h"

namespace hadal {

struct HttpNames {
  bool any_host = false;           // listens on more than the loopback: names are not known
  std::vector<std::string> hosts;  // names in Host, without a port
};

HttpNames http_names(const std::string& host, bool loopback, const std::vector<std::string>& further);

// Status and message. `head` has its method, path and fields; minor is the 1 of HTTP/1.1.
std::optional<std::pair<int, std::string>> refused_head(const HttpRequest& head, int minor, const HttpNames& names);

std::string host_name(std::string_view host);  // "[::1]:8000" -> "[::1]", in lower case

}  // namespace hadal
