// ResponseItems: the output of a response as it comes: what was thought, said and called are items in their order, and
// events tell of each: it is added, grows by deltas and is done, before the next one.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "server/chat_text.h"
#include "server/json_fields.h"

namespace hadal {

class ResponseItems {
 public:
  // event: is given each one's type and members; empty: nobody listens.
  explicit ResponseItems(std::function<void(const char* type, const Json& more)> event) : event_(std::move(event)) {}

  void add(const ChatPart& part);
  void end(bool whole);  // after the last part; whole: the model ended by itself
  const Json& list() const { return list_; }

 private:
  void call(const ChatPart& part);
  void open(ChatPart::Kind kind, Json item);
  void open_text(ChatPart::Kind kind);
  void close(const char* status);
  Json part() const;  // the text of the open item
  void tell(const char* type, Json more);
  void tell_of_item(const char* type, Json more);
  void tell_of_text(const char* type, Json more);

  std::function<void(const char* type, const Json& more)> event_;
  Json list_ = Json::array();
  bool open_ = false;  // the last item still grows
  ChatPart::Kind kind_ = ChatPart::Kind::content;
  std::string said_;  // in it
};

}  // namespace hadal
