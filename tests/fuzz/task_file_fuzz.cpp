// libFuzzer: bytes up to the first zero are a task file, those behind it its data. Only Error may come out; a YAML text
// that is read once is read the same again; an item that is made has requests.
// room: eval
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "eval/file_task.h"
#include "eval/python_value.h"
#include "eval/yaml.h"
#include "fuzz/scratch_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal;
  static const Folder folder;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const size_t zero = all.find('\0');
  const std::string yaml(all.substr(0, zero));
  try {
    if (eval::read_yaml(yaml, "fuzz") != eval::read_yaml(yaml, "fuzz")) {
      // a NaN is no other one's equal; all else is
      if (yaml.find("nan") == std::string::npos && yaml.find("NaN") == std::string::npos &&
          yaml.find("NAN") == std::string::npos)
        std::abort();
    }
  } catch (const Error&) {
  }
  eval::python_literal(yaml);
  try {
    if (zero != std::string_view::npos) write(folder.path / "t.jsonl", std::string(all.substr(zero + 1)));
    const eval::Task task = eval::task_of_file(eval::parse_task_file(yaml, "fuzz", folder.path), {.limit = 3});
    for (const eval::Item& item : task.items)
      if (item.requests.empty()) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
