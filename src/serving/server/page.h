// GET /: the page to try the model, under a policy that lets run and look like nothing but what stands in it.
#pragma once
#include "server/http_message.h"

namespace hadal {

HttpAnswer page_answer();

}  // namespace hadal
