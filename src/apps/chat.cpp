// hadal chat: a chat with a model in a terminal.
#include <histedit.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/cli.h"
#include "apps/line_output.h"
#include "apps/model_choice.h"
#include "apps/sampling_options.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/log.h"
#include "dialogue/prompt.h"
#include "dialogue/text_model.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

struct ChatOptions {
  ModelChoice model;
  std::string system;
  std::shared_ptr<DrawOptions> draw = std::make_shared<DrawOptions>();
  int64_t drafts = 0;
  CommonOptions common;
};

constexpr const char* kHelp =
    "/help this list   /new a new chat   /again another answer   /system TEXT who it is, in a new chat   /quit end\n"
    "Ctrl-C stops an answer, Ctrl-D ends; a line that ends with \\ goes on in the next one\n";

// A line of a terminal with editing and history, else of standard input.
class Lines {
 public:
  explicit Lines(bool edited) {
    if (!edited) return;
    history_ = history_init();
    edit_ = el_init("hadal", stdin, stdout, stderr);
    HistEvent event;
    history(history_, &event, H_SETSIZE, 1000);
    el_set(
        edit_, EL_PROMPT, +[](EditLine*) { return const_cast<char*>("> "); });
    el_set(edit_, EL_EDITOR, "emacs");
    el_set(edit_, EL_HIST, history, history_);
    el_set(edit_, EL_SIGNAL, 1);
  }
  ~Lines() {
    if (edit_ != nullptr) el_end(edit_);
    if (history_ != nullptr) history_end(history_);
  }
  Lines(const Lines&) = delete;

  bool next(std::string& line) {
    line.clear();
    for (std::string part; read(part);) {
      line += part;
      if (!line.ends_with('\\')) return true;
      line.back() = '\n';
    }
    return !line.empty();
  }

 private:
  bool read(std::string& part) {
    if (edit_ == nullptr) return bool(std::getline(std::cin, part));
    int n = 0;
    clear_interrupt();  // one that came behind the answer before
    const char* const text = el_gets(edit_, &n);
    const bool here = text != nullptr && n > 0, stopped = interrupted();
    clear_interrupt();
    if (!here && stopped) {  // it gave up the line; one that is here came behind an interrupt that met no reading
      part.clear();
      return true;
    }
    if (!here) return false;
    part.assign(text, size_t(n));
    while (!part.empty() && (part.back() == '\n' || part.back() == '\r')) part.pop_back();
    HistEvent event;
    if (!part.empty()) history(history_, &event, H_ENTER, part.c_str());
    return true;
  }

  History* history_ = nullptr;
  EditLine* edit_ = nullptr;
};

class Chat {
 public:
  // The engine keeps what it has read: a turn reads what is new in it.
  Chat(const ChatOptions& o, Engine& engine, const TextModel& loaded) : o_(o), engine_(engine), loaded_(loaded) {
    begin(o.system);
  }

  void begin(const std::string& system) {
    system_ = system;
    messages_ = Json::array();
    if (!system.empty()) messages_.push_back({{"role", "system"}, {"content", system}});
  }
  void begin() { begin(system_); }

  void ask(const std::string& text) {
    messages_.push_back({{"role", "user"}, {"content", text}});
    if (!answer()) messages_.erase(messages_.size() - 1);
  }

  void again() {
    if (messages_.empty() || messages_.back()["role"] != "assistant") return write_out("there is no answer yet\n");
    messages_.erase(messages_.size() - 1);
    ++turn_;
    answer();
  }

 private:
  // Whether there was one; a prompt that does not fit is said and taken back.
  bool answer() {
    clear_interrupt();
    DrawOptions draw = *o_.draw;
    EngineRequest request;
    try {
      request.prompt =
          chat_prompt(loaded_, {.messages = json_text(messages_, {.lossy = true}), .add_generation_prompt = true});
      complete_draw_options(draw, loaded_, request.prompt, true);
      const int64_t room = engine_.longest_text() - int64_t(request.prompt.size());
      check(room > 0, ErrorKind::invalid, "the chat fills all {} positions that there are; /new begins another",
            engine_.longest_text());
      request.max_tokens = draw.given_max_tokens ? std::min(draw.max_tokens, room) : room;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::invalid) throw;
      write_out(std::string(error.what()) + "\n");
      return false;
    }
    request.sampling = draw.sampling;
    request.sampling.seed += turn_;
    request.stop = loaded_.stop;
    const auto print = [this](const std::string& fragment) {
      loaded_.model.check_intact();
      write_out(fragment);
    };
    const GeneratedText result = generate_text(engine_, loaded_.text(), std::move(request), draw.stop_strings, print);
    write_out(interrupted() ? " [stopped]\n" : result.stopped ? "\n" : " [length]\n");
    clear_interrupt();
    // What was thought is not part of the chat that goes on.
    const size_t thought = result.text.find("</think>");
    messages_.push_back({{"role", "assistant"},
                         {"content", thought == std::string::npos ? result.text : result.text.substr(thought + 8)}});
    return true;
  }

  const ChatOptions& o_;
  Engine& engine_;
  const TextModel& loaded_;
  std::string system_;
  Json messages_;
  uint64_t turn_ = 0;
};

// One line of the user; false ends.
bool follow(Chat& chat, const std::string& line) {
  if (line == "/quit" || line == "/exit") return false;
  if (line == "/help") {
    write_out(kHelp);
  } else if (line == "/new") {
    chat.begin();
  } else if (line == "/again") {
    chat.again();
  } else if (line == "/system" || line.starts_with("/system ")) {
    chat.begin(line.size() > 8 ? line.substr(8) : "");
  } else if (line.starts_with('/')) {
    write_out("unknown: " + line + "\n" + kHelp);
  } else if (!line.empty()) {
    chat.ask(line);
  }
  return true;
}

int run_chat(const ChatOptions& o) {
  auto exec = o.common.exec();
  const TextModel loaded = o.model.open(exec.exec, o.common.quiet);
  check(!read_chat_files(loaded.model.directory.string()).templates.empty(), ErrorKind::not_found,
        "{}: this model has no chat template; 'hadal generate' lets it go on from a text",
        loaded.model.directory.string());
  const EngineOptions one_text{.cache_texts = 1, .max_running = 1, .drafts = o.drafts};
  pack_for(exec.exec, *loaded.model.transformer, 1000, draft_modules(*loaded.model.transformer, one_text));
  const bool edited = is_terminal(0) && is_terminal(1);
  if (edited) print_notes({"/help lists what you can type"}, o.common.quiet);
  // A Ctrl-C that comes when the answer has just ended must not end the chat.
  std::optional<CleanStop> at_the_prompt;
  if (edited) at_the_prompt.emplace("nothing is being written; /quit ends");
  Engine engine(exec.exec, *loaded.model.transformer, one_text);
  Chat chat(o, engine, loaded);
  Lines lines(edited);
  for (std::string line; lines.next(line);)
    if (!follow(chat, line)) break;
  return kExitFine;
}

}  // namespace

void add_chat(Verb root, Cli& cli) {
  auto o = std::make_shared<ChatOptions>();
  Verb verb = root.add_verb("chat", "Chat with a model in the terminal");
  add_model_options(verb, o->model, {.ema = true, .formats = true});
  verb.add_option("--system", o->system, "a system message before the chat");
  const auto note_given = add_draw_options(verb, o->draw);
  add_drafts_option(verb, o->drafts);
  add_place_options(verb, o->common);
  verb.add_examples({"hadal chat --model DeepSeek-V2-Lite-Chat", "hadal chat --model runs/chat --temperature 0.6"});
  cli.on(verb, [o, note_given] {
    note_given();
    return run_chat(*o);
  });
}

}  // namespace hadal
