// Answers as they stand on the wire, and what the system says of peers.
#pragma once
#include <cstdint>
#include <string>

#include "server/http_message.h"

namespace hadal {

struct HttpManner {
  std::string method;       // HEAD gets no body
  bool one_dot_one = true;  // the peer speaks HTTP/1.1
  bool goes_on = true;      // the connection serves further requests
};

std::string http_answer_text(const HttpAnswer& answer, const HttpManner& manner);
// Of a stream, which is chunked in HTTP/1.1 and ends with the connection in HTTP/1.0.
std::string http_stream_head(int status, const std::string& type, const HttpManner& manner);

std::string http_url(const std::string& host, int port);

bool peer_left(int socket);  // closed its side, or is gone

// As many as the system's descriptors allow, whose limit is raised as far as it goes; at most 4096.
int64_t connections_allowed();

}  // namespace hadal
