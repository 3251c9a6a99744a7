#include "server/http_checks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

namespace hadal {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return out;
}

int64_t count_of(const HttpRequest& head, std::string_view name) {
  return std::count_if(head.fields.begin(), head.fields.end(), [&](const auto& field) { return field.first == name; });
}

using Refusal = std::optional<std::pair<int, std::string>>;

// How long a body is must have one meaning, or a proxy before us and we disagree where the next request begins.
Refusal refused_framing(const HttpRequest& head, int minor) {
  const int64_t codings = count_of(head, "transfer-encoding"), lengths = count_of(head, "content-length");
  if (codings > 0 && lengths > 0)
    return {{400, "both Content-Length and Transfer-Encoding: a body has one length; send either"}};
  if (lengths > 1) return {{400, fmt::format("{} fields Content-Length; send one", lengths)}};
  if (const auto length = head.field("content-length"); length.find_first_not_of("0123456789") != length.npos)
    return {{400, fmt::format("Content-Length '{}' is no number of bytes", std::string(length.substr(0, 60)))}};
  if (codings == 0) return {};
  const std::string coding = lower(head.field("transfer-encoding"));
  if (codings > 1 || coding != "chunked")
    return {{501, fmt::format("Transfer-Encoding '{}' is not offered; send the body plain or chunked", coding)}};
  if (minor == 0) return {{400, "HTTP/1.0 has no Transfer-Encoding; use HTTP/1.1"}};
  return {};
}

}  // namespace

std::string host_name(std::string_view host) {
  const size_t bracket = host.find(']');
  const size_t colon = host.find(':', bracket == std::string_view::npos ? 0 : bracket);
  return lower(host.substr(0, colon));
}

HttpNames http_names(const std::string& host, bool loopback, const std::vector<std::string>& further) {
  HttpNames names{!loopback, {"localhost", "127.0.0.1", "[::1]", host_name(host)}};
  for (const std::string& name : further) names.hosts.push_back(host_name(name));
  return names;
}

std::optional<std::pair<int, std::string>> refused_head(const HttpRequest& head, int minor, const HttpNames& names) {
  if (auto framing = refused_framing(head, minor)) return framing;
  if (const int64_t hosts = count_of(head, "host"); hosts > 1 || (hosts == 0 && minor > 0))
    return {{400, fmt::format("{} fields Host; a request has one", hosts)}};
  const std::string_view host = head.field("host");
  if (!names.any_host && count_of(head, "host") > 0) {
    const std::string name = host_name(host);
    if (std::find(names.hosts.begin(), names.hosts.end(), name) == names.hosts.end())
      return {{403, fmt::format("Host '{}' is no name of this server ({}); a proxy's name is allowed by --allow-host",
                                std::string(host.substr(0, 100)), fmt::join(names.hosts, ", "))}};
  }
  if (const int64_t origins = count_of(head, "origin"); origins > 0) {
    const std::string origin = lower(head.field("origin"));
    const std::string own = lower(host);
    if (origins > 1 || own.empty() || (origin != "http://" + own && origin != "https://" + own))
      return {{403, fmt::format("Origin '{}' is not this server ('{}'): pages of other sites may not use it",
                                origin.substr(0, 100), std::string(host.substr(0, 100)))}};
  }
  if (!head.path.starts_with('/'))
    return {{400, fmt::format("the target '{}' is no path; it begins with /", head.path.substr(0, 100))}};
  const std::string expect = lower(head.field("expect"));
  if (!expect.empty() && expect != "100-continue")
    return {{417, fmt::format("Expect '{}' is not offered; only 100-continue is", expect.substr(0, 100))}};
  return {};
}

}  // namespace hadal
