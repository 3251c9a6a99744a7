// Whether items of a task stand in the text that a run was trained on: then its figure says what the model remembers.
// Items and files are compared as words (runs of letters and digits, in lower case): an item is found where 13 words of
// its question and answer follow one another in a file, or all of them where it has fewer (at least 6). Escapes of JSON
// count as blanks, so that files of any format are read alike. A paraphrase is not found.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "eval/task.h"

namespace hadal::eval {

struct TrainingText {
  std::vector<std::filesystem::path> files;
  std::vector<std::string> missing;  // patterns that name no file any more
  int64_t bytes = 0;                 // of the files as they lie
};
// Of the sources of a run, and of those that it started from where they are still there: the phases before it, and the
// run that was fine-tuned. `model` as in locate_model(); none for a directory that is no run. Throws not_found for a
// phase that there is not.
TrainingText training_text_of(const std::filesystem::path& model);

// Reads the files once for all tasks and adds a note to each task whose items stand there: how many of how many that
// are long enough, and the first ones. progress: label on standard error. Throws what reading throws.
void note_training_overlap(const TrainingText& text, std::vector<Task>& tasks, bool quiet);

}  // namespace hadal::eval
