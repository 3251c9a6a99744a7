// The table of verbs: one line each, in the order of --help. A new verb is a new file and a new line here.
//
//   HADAL_VERB(name)  declares  void add_<name>(Verb root, Cli& cli)  which src/apps/<name>.cpp defines.
// clang-format off
HADAL_VERB(tokenizer)
HADAL_VERB(data)
HADAL_VERB(train)
HADAL_VERB(generate)
HADAL_VERB(chat)
HADAL_VERB(serve)
HADAL_VERB(replay)
HADAL_VERB(score)
HADAL_VERB(eval)
HADAL_VERB(grads)
HADAL_VERB(trace)
HADAL_VERB(inspect)
HADAL_VERB(schedule)
HADAL_VERB(export)
HADAL_VERB(report)
HADAL_VERB(check)
HADAL_VERB(sweep)
HADAL_VERB(precision)
HADAL_VERB(demo)
HADAL_VERB(version)
// clang-format on
