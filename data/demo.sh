#!/bin/sh
# The main job on the sample of this folder: compress, look, search. Run by `make demo`.
set -eu
here=$(dirname "$0")
out=demo-output
mkdir -p "$out"
run() {
    printf '\n$ embcompress %s\n' "$*"
    "${BIN:-.venv/bin}/embcompress" "$@"
}
run compress "$here/enwiki_sample_5k_100d.txt" -o "$out/sample.safetensors" --quality
run info "$out/sample.safetensors"
run search "$out/sample.safetensors" king music germany --topn 5
run analogy "$out/sample.safetensors" good better large --topn 3
