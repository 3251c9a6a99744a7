# Short names for what people do with Hadal; everything else is CMake's. `make help` lists them.
BUILD := build/release
JOBS := $(shell tools/jobs.sh)
PREFIX ?= /usr/local
NPROC := $(shell nproc)

.PHONY: help build all test proof demo bench format lint install clean sanitize fuzz mutants soak precision \
        life assistant gsm8k

help:            ## this list
	@sed -n 's/^\([a-z0-9]*\): .*## \(.*\)/  make \1\t\2/p; s/^\([a-z0-9]*\):  *## \(.*\)/  make \1\t\2/p' Makefile \
	  | expand -t 18 | sort -u

$(BUILD)/build.ninja: CMakeLists.txt CMakePresets.json
	@cmake --preset release || { echo "make: something that the build needs is missing; ./setup installs it" >&2; exit 1; }

build: $(BUILD)/build.ninja  ## the binary build/release/hadal
	cmake --build $(BUILD) --target hadal -j $(JOBS)

all: $(BUILD)/build.ninja  ## binary, tests and benchmarks
	cmake --build $(BUILD) -j $(JOBS)

test:  ## every test, with its Python peers in .venv; ends with the count
	./setup --no-system --tests
	$(MAKE) --no-print-directory all
	python3 tools/run_tests.py $(BUILD)

proof:  ## what takes minutes: kills in runs and over phases, 20,000 documents and their memory, traps, layouts
	./setup --no-system --tests
	$(MAKE) --no-print-directory all
	python3 tools/run_tests.py $(BUILD) --labels proof

demo: build  ## train on text that is on this machine and write text; TEXT=path for your own, ARGS=--fresh to restart
	$(BUILD)/hadal demo $(if $(TEXT),--text "$(TEXT)") $(ARGS)

bench: all  ## kernels against the machine's peak, training steps against Hugging Face transformers
	./setup --no-system --bench
	bench/run $(BUILD)

life: build  ## the walk in small: pre-training, two extensions of the context, fine-tuning, evaluation
	tools/life.sh $(BUILD)/hadal

assistant: build  ## fine-tune the model of make demo on dialogues made here; evaluation before and after, then chat
	tools/assistant.sh $(BUILD)/hadal

gsm8k: build  ## GSM8K from end to end, GSM8K=folder with its two files: training, evaluation, export
	@[ -n "$(GSM8K)" ] || { echo "make: GSM8K=folder names gsm8k_train.jsonl and gsm8k_test.jsonl" >&2; exit 1; }
	tools/gsm8k.py $(BUILD)/hadal "$(GSM8K)"

precision: build  ## what BF16, FP8 … cost on a text, from five seeds; goes on after a stop; TEXT=path, OUT=path
	python3 tools/precision.py $(BUILD)/hadal $(or $(OUT),runs/precision-study) $(if $(TEXT),--text "$(TEXT)")

install: build  ## copy the binary below PREFIX=/usr/local
	cmake --install $(BUILD) --prefix "$(PREFIX)"

sanitize:  ## the fast tests under address+undefined and thread sanitizers; ends with the count of tests and reports
	tools/sanitize.sh $(JOBS)

fuzz:  ## libFuzzer over every reader of files, text and requests, SECONDS=60 each (needs clang: ./setup --developer)
	tools/fuzz.sh $(or $(SECONDS),60) $(JOBS)

soak:  ## a server under peers that break off for SECONDS=120, faults of ranks TIMES=20 in a row (SEED=n repeats)
	./setup --no-system --tests
	$(MAKE) --no-print-directory all
	tools/soak.sh $(BUILD) $(or $(TIMES),20) $(or $(SEED),$$(date +%s)) $(or $(SECONDS),120)

mutants:  ## plant one fault for each known trap; every one must be caught
	./setup --no-system --tests
	$(MAKE) --no-print-directory all
	tools/mutants $(BUILD)

format:  ## clang-format over all C++ (needs ./setup --developer)
	git ls-files '*.cpp' '*.h' | xargs clang-format -i

lint: $(BUILD)/build.ninja  ## the format, clang-tidy and the house checker (needs ./setup --developer)
	python3 tools/check_house.py
	git ls-files '*.cpp' '*.h' | xargs clang-format --dry-run -Werror
	git ls-files 'src/*.cpp' | grep -v kernels/cpu | xargs -P $(JOBS) -n 1 clang-tidy --quiet -p $(BUILD)

clean:  ## remove build/
	rm -rf build
